//! What clients can know of us: [RFC 8414 §2](https://www.rfc-editor.org/rfc/rfc8414#section-2) and
//! [OpenID Connect Discovery §3](https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata), one document for both.
//!
//! The issuer is equal to the byte wherever it stands. What is not served is left out: a `null` breaks clients.

use serde_json::{Map, Value, json};

use crate::{config::Registration, domain::scope, protocol::client_assertion::ALGORITHMS, world::World};

/// The metadata document.
pub fn document(world: &World) -> Value {
    let settings = &world.settings;
    let issuer = settings.issuer.as_str();
    let at = |path: &str| Value::from(format!("{issuer}{path}"));
    let methods = json!(["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]);
    let secret_methods = json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]);
    let mut document = Map::new();
    let mut put = |name: &str, value: Value| {
        document.insert(name.to_owned(), value);
    };
    put("issuer", issuer.into());
    put("authorization_endpoint", at("/authorize"));
    put("token_endpoint", at("/token"));
    put("jwks_uri", at("/jwks"));
    if settings.registration != Registration::Off {
        put("registration_endpoint", at("/register"));
    }
    put("introspection_endpoint", at("/introspect"));
    put("revocation_endpoint", at("/revoke"));
    put("userinfo_endpoint", at("/userinfo"));
    put("scopes_supported", json!(scope::BUILT_IN));
    put("response_types_supported", json!(["code"]));
    put("response_modes_supported", json!(["query"]));
    put("grant_types_supported", json!(["authorization_code", "refresh_token", "client_credentials"]));
    put("token_endpoint_auth_methods_supported", methods.clone());
    put("token_endpoint_auth_signing_alg_values_supported", json!(ALGORITHMS));
    put("introspection_endpoint_auth_methods_supported", secret_methods);
    put("introspection_endpoint_auth_signing_alg_values_supported", json!(ALGORITHMS));
    put("revocation_endpoint_auth_methods_supported", methods);
    put("revocation_endpoint_auth_signing_alg_values_supported", json!(ALGORITHMS));
    put("code_challenge_methods_supported", json!(["S256"]));
    put("authorization_response_iss_parameter_supported", true.into());
    put("client_id_metadata_document_supported", settings.client_metadata_documents.into());
    put("subject_types_supported", json!(["public"]));
    put("id_token_signing_alg_values_supported", json!([world.keys.algorithm().as_str()]));
    put(
        "claims_supported",
        json!([
            "sub",
            "iss",
            "aud",
            "exp",
            "iat",
            "auth_time",
            "nonce",
            "at_hash",
            "name",
            "preferred_username",
            "email",
            "email_verified"
        ]),
    );
    put("prompt_values_supported", json!(["none", "login", "consent", "select_account"]));
    put("request_parameter_supported", false.into());
    put("request_uri_parameter_supported", false.into());
    put("claims_parameter_supported", false.into());
    Value::Object(document)
}
