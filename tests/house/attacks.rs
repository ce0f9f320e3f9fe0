//! Every attack that is known to have worked on somebody else has its test, or finds no surface here, and then it says why.

use std::collections::BTreeSet;

use super::source::{Source, Token, assert_none, rust_files};

/// By advisory, or by the draft or rule that it breaks: the tests that make the attack.
const TESTED: &[(&str, &[&str])] = &[
    ("CVE-2023-6291", &["cve_2023_6291_prefix_match"]),
    ("CVE-2024-1132", &["cve_2024_1132_encoded_traversal"]),
    ("CVE-2022-3782", &["cve_2022_3782_double_encoding"]),
    ("CVE-2026-3872", &["cve_2026_3872_path_parameter_traversal"]),
    ("CVE-2026-7504", &["cve_2026_7504_wildcard_and_userinfo"]),
    ("CVE-2024-8883", &["cve_2024_8883_userinfo_after_loopback"]),
    ("CVE-2026-18211", &["cve_2026_18211_loopback_by_prefix"]),
    ("CVE-2023-6927", &["cve_2023_6927_another_response_mode"]),
    ("CVE-2024-52289", &["cve_2024_52289_a_dot_is_no_pattern"]),
    ("GO-2026-4653", &["go_2026_4653_two_parsers_two_hosts"]),
    ("CVE-2026-54072", &["cve_2026_54072_an_unregistered_uri_gets_a_page"]),
    ("CVE-2025-4143", &["cve_2025_4143_a_uri_of_another_client"]),
    ("CVE-2026-67333", &["cve_2026_67333_schemes_that_run"]),
    ("CVE-2020-15233, CVE-2020-15234", &["cve_2020_15233_and_15234_loopback_override_and_case"]),
    ("CVE-2020-26938", &["cve_2020_26938_a_script_in_the_uri"]),
    ("CVE-2026-29067", &["cve_2026_29067_the_issuer_is_not_what_the_request_says"]),
    ("GHSA-2wmj-46rj-qm2w", &["ghsa_2wmj_46rj_qm2w_links_come_from_the_configuration"]),
    ("CVE-2022-23527", &["cve_2022_23527_nothing_in_an_address_says_where_to_go_after_signing_in"]),
    (
        "CVE-2026-15573",
        &[
            "cve_2026_15573_and_2025_71399_no_spelling_of_a_path_avoids_the_token",
            "cve_2026_15573_only_one_whole_bearer_token_of_an_operator_opens",
        ],
    ),
    ("CVE-2025-71399", &["cve_2026_15573_and_2025_71399_no_spelling_of_a_path_avoids_the_token"]),
    ("CVE-2025-4144", &["cve_2025_4144_the_verifier_left_out"]),
    ("CVE-2024-23647", &["cve_2024_23647_the_challenge_taken_out_on_the_way"]),
    ("CVE-2023-48228", &["cve_2023_48228_an_empty_verifier_is_none"]),
    ("CVE-2024-22258", &["cve_2024_22258_a_confidential_client_proves_possession_too"]),
    ("CVE-2026-67336", &["cve_2026_67336_plain_and_none_are_not_offered"]),
    ("node-oauth2-server, 2026", &["node_oauth2_server_2026_the_verifier_has_a_grammar_and_a_wrong_one_burns_the_code"]),
    ("CVE-2026-55672", &["cve_2026_55672_code_and_refresh_token_are_for_one_client"]),
    ("CVE-2026-4282", &["cve_2026_4282_a_value_is_good_for_one_purpose"]),
    ("CVE-2026-114607", &["cve_2026_114607_a_value_of_one_purpose_is_nothing_for_another"]),
    ("CVE-2026-96446", &["cve_2026_96446_a_pushed_request_is_refused_in_every_mode"]),
    ("CVE-2026-9793", &["cve_2026_9793_no_request_object_is_read"]),
    ("CVE-2023-0264, GHSA-9g98-5mj6-f9mv", &["cve_2023_0264_nothing_but_the_whole_code_works"]),
    (
        "CVE-2026-7571",
        &[
            "cve_2026_7571_what_a_form_carries_cannot_be_altered",
            "cve_2026_7571_a_request_that_changed_since_it_was_shown_is_asked_anew",
        ],
    ),
    ("CVE-2026-4325", &["cve_2026_4325_an_invitation_is_used_once"]),
    ("CVE-2026-1035", &["cve_2026_1035_a_race_has_one_successor"]),
    ("CVE-2026-53517", &["cve_2026_53517_a_family_does_not_fork"]),
    ("CVE-2026-53512", &["cve_2026_53512_a_confidential_client_authenticates_at_refresh"]),
    ("CVE-2026-9802", &["cve_2026_9802_revoked_stays_revoked_after_a_restart"]),
    ("CVE-2026-8922", &["cve_2026_8922_of_all_cut_offs_the_strictest_wins"]),
    ("CVE-2026-18208", &["cve_2026_18208_an_inactive_answer_is_only_that"]),
    (
        "CVE-2026-43983",
        &["cve_2026_43983_a_refresh_asks_about_consent_and_person", "cve_2026_43983_a_redemption_beside_the_withdrawal"],
    ),
    ("CVE-2023-22492", &["cve_2023_22492_a_locked_person_refreshes_nothing"]),
    ("rauthy 0.36.1", &["rauthy_0_36_1_neither_client_nor_scope_nor_person_changes"]),
    ("rauthy 0.36.2", &["rauthy_0_36_2_no_token_makes_it_panic"]),
    (
        "CVE-2022-3916",
        &[
            "cve_2022_3916_another_person_at_the_same_browser",
            "cve_2022_3916_another_user_in_the_same_browser_has_nothing_of_the_first",
        ],
    ),
    ("CVE-2020-15223", &["cve_2020_15223_a_revocation_that_failed_says_so"]),
    ("CVE-2021-32701", &["cve_2021_32701_a_remembered_token_is_judged_for_each_need"]),
    ("CVE-2024-38371", &["cve_2024_38371_a_policy_binds_every_grant"]),
    ("CVE-2024-52287", &["cve_2024_52287_scope_stays_within_the_registration_on_every_grant"]),
    ("CVE-2025-64521", &["cve_2025_64521_a_disabled_service_gets_nothing"]),
    ("CVE-2026-1609", &["cve_2026_1609_no_jwt_stands_for_a_person"]),
    ("CVE-2026-56668", &["cve_2026_56668_a_token_is_not_exchanged"]),
    ("CVE-2026-9704", &["cve_2026_9704_a_subject_token_that_cannot_be_read_is_no_other_request"]),
    ("CVE-2022-1245", &["cve_2022_1245_a_target_outside_of_the_policy"]),
    ("CVE-2023-0657, GHSA-7fpj-9hr8-28vh", &["cve_2023_0657_no_other_token_is_a_subject_token"]),
    ("CVE-2026-11800", &["cve_2026_11800_no_algorithm_opens_a_grant_by_jwt"]),
    ("CVE-2026-67332", &["cve_2026_67332_a_grant_is_for_one_resource"]),
    ("CVE-2025-69196", &["cve_2025_69196_a_token_is_good_at_its_resource_alone"]),
    ("CVE-2026-116684", &["cve_2026_116684_the_layer_compares_the_whole_audience"]),
    ("CVE-2020-14389", &["cve_2020_14389_the_right_audience_in_wrong_company"]),
    ("CVE-2026-9795, CVE-2026-4629", &["cve_2026_9795_and_4629_nobody_adds_claims_to_a_token"]),
    ("CVE-2025-1391", &["cve_2025_1391_a_name_gives_no_membership"]),
    ("CVE-2026-25537", &["cve_2026_25537_a_claim_of_the_wrong_type_is_not_absent", "cve_2026_25537_neither_in_access_tokens"]),
    ("jwt-simple, audit of 2026", &["jwt_simple_audit_2026_encryption_and_negative_times_are_no_way_around"]),
    ("CVE-2020-15222, CVE-2020-5300", &["cve_2020_15222_and_5300_an_assertion_is_good_once"]),
    ("CVE-2026-53431", &["cve_2026_53431_an_assertion_ends_soon"]),
    ("CVE-2022-23539", &["cve_2022_23539_to_23541_an_algorithm_belongs_to_its_key"]),
    ("CVE-2022-23540", &["cve_2022_23540_our_own_tokens_have_one_algorithm"]),
    ("CVE-2022-23541", &["cve_2022_23541_a_weak_or_ill_fitting_key_verifies_nothing"]),
    ("CVE-2026-23552", &["cve_2026_23552_another_tenants_token", "cve_2026_23552_an_assertion_names_its_client_and_this_server"]),
    ("RUSTSEC-2023-0071", &["nothing_that_was_ruled_out_comes_back"]),
    ("CVE-2026-54885", &["cve_2026_54885_no_internal_address_is_called", "cve_2026_54885_nor_loopback_by_a_server_that_is_not"]),
    ("CVE-2026-1180", &["cve_2026_1180_keys_at_an_internal_address"]),
    ("CVE-2020-10770", &["cve_2020_10770_a_request_uri_is_never_fetched"]),
    ("CVE-2026-4874", &["cve_2026_4874_no_parameter_becomes_a_call"]),
    ("CVE-2026-53513", &["cve_2026_53513_a_redirect_is_not_followed", "cve_2026_53513_a_hostile_discovery_document_leads_nowhere"]),
    ("CVE-2026-65635", &["cve_2026_65635_a_registration_gives_no_power"]),
    ("CVE-2026-15572", &["cve_2026_15572_a_change_is_judged_like_a_registration"]),
    ("GHSA-46c8-635v-68r2, CVE-2026-18206", &["ghsa_46c8_635v_68r2_loopback_is_known_by_its_host"]),
    ("CVE-2026-110864", &["cve_2026_110864_what_another_server_sealed_is_unknown"]),
    ("CVE-2026-15943", &["cve_2026_15943_no_secret_follows_a_name_to_another_place"]),
    ("CVE-2026-104850, CVE-2026-115563", &["cve_2026_104850_and_115563_iss_is_advertised_and_sent"]),
    ("CVE-2025-6514", &["cve_2025_6514_metadata_holds_web_addresses_only"]),
    ("CVE-2025-66414, CVE-2025-66416", &["cve_2025_66414_and_66416_a_rebound_name_reaches_no_mcp_server"]),
    ("CVE-2026-18963", &["cve_2026_18963_a_proof_counts_only_for_its_own_step"]),
    ("CVE-2026-94218, CVE-2023-6787", &["cve_2026_94218_restarting_and_cancelling_signs_nobody_in"]),
    (
        "CVE-2026-109373",
        &["cve_2026_109373_a_session_cookie_cannot_be_made_or_kept", "cve_2026_109373_a_locked_person_is_signed_out_and_stays_out"],
    ),
    ("CVE-2026-119128", &["cve_2026_119128_a_browser_cookie_cannot_be_made"]),
    ("CVE-2026-27124", &["cve_2026_27124_consent_belongs_to_the_browser_that_was_asked", "cve_2026_27124_consent_expires"]),
    ("CVE-2023-34246", &["cve_2023_34246_a_public_client_on_loopback_is_never_allowed_silently"]),
    (
        "CVE-2024-7341",
        &["cve_2024_7341_signing_in_keeps_nothing_that_was_known_before", "cve_2024_7341_no_other_site_signs_anybody_in"],
    ),
    ("CVE-2026-23511", &["cve_2026_23511_a_login_that_nobody_has_is_answered_like_one_that_somebody_has"]),
    ("GHSA-r9w3-57w2-gch2", &["ghsa_r9w3_57w2_gch2_a_cursor_that_was_made_up_or_altered_is_refused"]),
    ("GO-2026-4861, GO-2026-4818", &["go_2026_4861_and_4818_what_a_request_says_runs_on_no_page"]),
    ("CVE-2026-4634", &["cve_2026_4634_a_huge_scope_is_refused_early"]),
    ("CVE-2026-9803", &["cve_2026_9803_a_malformed_header_is_no_500"]),
    ("CVE-2026-16100", &["cve_2026_16100_no_label_comes_from_a_request"]),
    ("CVE-2026-1529", &["cve_2026_1529_an_invitation_cannot_be_made"]),
    ("CVE-2026-9792", &["cve_2026_9792_what_cannot_be_judged_is_refused"]),
    ("authority only shrinks", &["authority_only_shrinks"]),
    (
        "Client ID Metadata Documents",
        &[
            "cimd_2_the_url_has_one_spelling",
            "cimd_4_a_document_must_be_right",
            "cimd_4_4_trouble_passes_and_is_not_kept",
            "cimd_6_what_changes_is_asked_for_again_and_other_devices_stay_connected",
        ],
    ),
    (
        "how token requests are read",
        &[
            "token_endpoint_a_wrong_resource_costs_no_code",
            "rfc6749_3_2_a_parameter_occurs_once",
            "rfc6749_3_2_a_body_of_another_media_type_is_refused",
        ],
    ),
    ("scopes", &["scope_is_a_set_and_never_wider_than_what_was_allowed", "step_up_grants_only_what_was_ticked"]),
    ("iss in every answer", &["cve_2026_104850_and_115563_iss_is_advertised_and_sent"]),
];

const NO_EXCHANGE: &str = "no token is exchanged, which cve_2026_56668_a_token_is_not_exchanged holds";
const NO_JWT_GRANT: &str = "no JWT of another issuer is a grant, which cve_2026_1609_no_jwt_stands_for_a_person holds";
const NO_UPSTREAM: &str = "nobody signs in at another provider";
const NO_ONE_TIME_CODE: &str = "nobody is sent a code, and there is no second factor";
const NO_APPROVAL: &str = "an approval is consent in the browser; there are no other doors to it";

/// What would be attacked does not exist. Whoever brings it in moves the line above.
const NO_SURFACE: &[(&str, &str)] = &[
    ("CVE-2026-45337", "no device codes"),
    ("keycloak/keycloak#50690", NO_EXCHANGE),
    ("CVE-2026-1486", NO_JWT_GRANT),
    ("CVE-2026-18569", "no logout tokens come in"),
    ("CVE-2026-9087", NO_UPSTREAM),
    ("CVE-2026-105207, CVE-2025-64717", NO_UPSTREAM),
    ("CVE-2026-53516", NO_UPSTREAM),
    ("CVE-2026-9798, CVE-2026-16103", "no CIBA"),
    ("CVE-2025-64102, CVE-2025-64103", NO_ONE_TIME_CODE),
    ("CVE-2026-105211", NO_ONE_TIME_CODE),
    ("CVE-2024-8122, CVE-2026-33640, CVE-2026-105638", NO_ONE_TIME_CODE),
    ("CVE-2026-105209", "no passkeys"),
    ("keycloak/keycloak#52691: by the request's syntax", NO_EXCHANGE),
    ("keycloak/keycloak#52691: a disabled actor", NO_EXCHANGE),
    ("keycloak/keycloak#53029", "no token has an actor"),
    ("transaction challenges", NO_APPROVAL),
    ("ID-JAG: an actor that belongs to nobody", NO_JWT_GRANT),
    ("chains of bearers", NO_EXCHANGE),
    ("ID-JAG: its claims", NO_JWT_GRANT),
    ("deferred answers", NO_APPROVAL),
    ("notification endpoints", "nothing is delivered to addresses that others name"),
    ("DPoP", "tokens are bearer tokens"),
];

#[test]
fn every_known_attack_has_its_test() {
    let functions: BTreeSet<_> = rust_files("tests").iter().flat_map(functions).collect();
    let listed: BTreeSet<_> = TESTED.iter().flat_map(|(_, tests)| *tests).map(|test| (*test).to_owned()).collect();
    let gone = listed.iter().filter(|test| !functions.contains(*test)).cloned().collect::<Vec<_>>();
    assert_none("A test that is listed exists.", &gone);
    let attacks: BTreeSet<_> = rust_files("tests/attacks").iter().flat_map(functions_of_advisories).collect();
    assert_none("An attack that is named by its advisory is listed.", &attacks.difference(&listed).cloned().collect::<Vec<_>>());
    for (id, why) in NO_SURFACE {
        assert!(!why.is_empty() && TESTED.iter().all(|(tested, _)| tested != id), "{id}: tested, or without surface");
    }
}

fn functions(source: &Source) -> Vec<String> {
    let tokens: Vec<_> = source.tokens().into_iter().map(|(_, token)| token).collect();
    let named = tokens.windows(2).filter_map(|window| match window {
        [Token::Word(keyword), Token::Word(name)] if keyword == "fn" => Some(name.clone()),
        _ => None,
    });
    named.collect()
}

fn functions_of_advisories(source: &Source) -> Vec<String> {
    let is_advisory = |name: &String| ["cve_", "ghsa_", "go_", "rustsec_", "rauthy_"].iter().any(|kind| name.starts_with(kind));
    functions(source).into_iter().filter(is_advisory).collect()
}
