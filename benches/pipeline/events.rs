//! Batches of a shop's events as an SDK on a server sends them.

use std::fmt::Write as _;

use super::servers::load::{MARK_DIGITS, Mark, Request};

/// Events of one request.
pub const BATCH: usize = 100;
/// No two events have the same message id.
const IDS: u64 = 1_000_000_000_000;

/// A batch of events, each time with new message ids and the next people.
pub fn batch(address: &str, authorization: &str, people: u64) -> Request {
    let mut body = String::from(r#"{"batch":["#);
    let mut marks = Vec::with_capacity(2 * BATCH);
    for place in 0..BATCH {
        if place > 0 {
            body.push(',');
        }
        event(&mut body, &mut marks, place, people);
    }
    body.push_str(r#"],"sentAt":"2026-01-05T10:00:02.000Z"}"#);
    Request::post(address, "/v1/batch", authorization, "application/json", &body).with_marks(&marks)
}

/// Of ten events, eight are tracks, one is a page and one says who the person is.
fn event(body: &mut String, marks: &mut Vec<Mark>, place: usize, people: u64) {
    body.push_str(r#"{"messageId":"node-next-1767607202-"#);
    mark(body, marks, IDS);
    body.push_str(r#"","userId":"person-"#);
    mark(body, marks, people);
    let said = match place % 10 {
        0 => concat!(
            r#"","type":"identify","traits":{"plan":"business","company":"Northwind Traders","seats":25,"locale":"en-GB","#,
            r#""title":"Head of Purchasing","newsletter":true,"industry":"Wholesale","createdAt":"2024-03-01T09:12:44.120Z","#,
            r#""employees":420,"website":"https://www.northwind.example/"}"#
        ),
        5 => concat!(
            r#"","type":"page","name":"Pricing","properties":{"path":"/pricing","title":"Pricing and plans","#,
            r#""url":"https://shop.example/pricing?utm_source=newsletter&utm_medium=email","referrer":"https://shop.example/","#,
            r#""search":"?utm_source=newsletter&utm_medium=email","experiment":"three-columns"}"#
        ),
        _ => concat!(
            r#"","type":"track","event":"Order Completed","properties":{"order_id":"50314b8e9bcf000000000000","total":27.50,"#,
            r#""revenue":25.00,"shipping":3,"tax":2,"discount":2.5,"coupon":"hasbros","currency":"USD","products":[{"product_id":"#,
            r#""507f1f77bcf86cd799439011","sku":"45790-32","name":"Monopoly: 3rd Edition","price":19,"quantity":1}]}"#
        ),
    };
    body.push_str(said);
    let context = concat!(
        r#","timestamp":"2026-01-05T10:00:01.123Z","context":{"library":{"name":"@segment/analytics-node","version":"2.3.0"},"#,
        r#""userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36","#,
        r#""locale":"en-GB","timezone":"Europe/London"},"integrations":{}}"#
    );
    body.push_str(context);
}

fn mark(body: &mut String, marks: &mut Vec<Mark>, among: u64) {
    marks.push(Mark { at: body.len(), among });
    write!(body, "{:0MARK_DIGITS$}", 0).expect("a String takes everything");
}
