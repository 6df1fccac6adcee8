//! Standing orders over HTTP: for those who may read open ceremonies.

use super::service;

const ORDERS: &str = "/v1/orders";

#[tokio::test]
async fn orders_are_read_by_members_and_by_nobody_else() {
    let fixture = service().await;
    let listed = fixture.read_as("alice", ORDERS).await;
    assert_eq!(listed.json(), serde_json::json!({"orders": []}));
    let one = format!("{ORDERS}/{}", "0".repeat(32));
    for path in [ORDERS, one.as_str()] {
        assert_eq!(fixture.get(path).await.code(), "unauthenticated");
        let stranger = fixture.read_as("mallory", path).await;
        assert_eq!(stranger.code(), "invalid_credentials");
    }
    for unknown in [one, format!("{ORDERS}/x")] {
        let answered = fixture.read_as("alice", &unknown).await;
        assert_eq!(
            (answered.status.as_u16(), answered.code()),
            (404, "unknown_order".to_owned())
        );
    }
    for (query, member) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("after=x", "after"),
    ] {
        let answered = fixture.read_as("alice", &format!("{ORDERS}?{query}")).await;
        assert_eq!(
            (answered.code(), answered.member()),
            ("bad_query".to_owned(), member.to_owned())
        );
    }
}
