//! Which node is asked, and which next.

use sensor_model::Token;

use super::*;

fn member(address: &str) -> Member {
    Member {
        address: address.to_owned(),
        ..Member::default()
    }
}

fn status(applied: u64, age_ms: Option<u64>, load: Load) -> NodeStatus {
    serde_json::from_value(serde_json::json!({
        "id": 1, "cluster": "test", "cluster_id": "", "role": "follower", "term": 1, "leader": null,
        "commit_index": applied, "applied_index": applied, "last_snapshot": null, "members": [],
        "peers": [], "load": load, "series": 0, "readings": 0, "disk_bytes": 0, "producers": [],
        "age_ms": age_ms, "version": "", "uptime_ms": 0,
    }))
    .unwrap()
}

fn fresh() -> NodeStatus {
    status(10, Some(100), Load::Active)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn anyhow(targets: &Targets) -> Vec<String> {
    targets.in_order(Consistency::Any)
}

#[tokio::test]
async fn a_missing_port_is_the_default_one() {
    let targets = Targets::parse("a, b:1,[::1],[::1]:2").unwrap();
    assert_eq!(targets.named(), ["a:7400", "b:1", "[::1]:7400", "[::1]:2"]);
}

#[tokio::test]
async fn a_bad_target_is_named() {
    for bad in ["", "a,,b", "a:b", "a:70000", "http://a", "a b"] {
        let refused = Targets::parse(bad).unwrap_err();
        assert_eq!(refused.name, "target", "{bad:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_failed_is_asked_last_for_a_while_and_longer_the_next_time() {
    let targets = Targets::parse("a:1,b:1").unwrap();
    for pause in [PENALTY_MIN, PENALTY_MIN * 2, PENALTY_MIN * 4] {
        targets.note_failure("a:1", None);
        tokio::time::advance(pause - ms(1)).await;
        assert_eq!(anyhow(&targets), ["b:1", "a:1"]);
        tokio::time::advance(ms(1)).await;
        assert_eq!(anyhow(&targets), ["a:1", "b:1"]);
    }
    for _ in 0..100 {
        targets.note_failure("a:1", None);
    }
    tokio::time::advance(PENALTY_MAX).await;
    assert_eq!(anyhow(&targets), ["a:1", "b:1"]);
    targets.note_success("a:1");
    targets.note_failure("a:1", None);
    tokio::time::advance(PENALTY_MIN).await;
    assert_eq!(anyhow(&targets), ["a:1", "b:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_without_room_is_asked_again_when_it_wants_to_be() {
    let targets = Targets::parse("a:1,b:1").unwrap();
    targets.note_failure("a:1", Some(ms(50)));
    assert_eq!(anyhow(&targets), ["b:1", "a:1"]);
    tokio::time::advance(ms(50)).await;
    assert_eq!(anyhow(&targets), ["a:1", "b:1"]);
}

#[tokio::test]
async fn members_learned_of_come_after_the_named_targets() {
    let targets = Targets::parse("a").unwrap();
    targets.note_members(&[member("b:7400"), member("a:7400")]);
    targets.note_leader(Some("c:7400".to_owned()));
    assert_eq!(anyhow(&targets), ["a:7400", "b:7400"]);
    assert_eq!(targets.for_writes(), ["c:7400", "a:7400", "b:7400"]);
}

#[tokio::test]
async fn the_nearest_is_asked_first_and_kept_while_no_other_is_nearer_by_much() {
    let targets = Targets::parse("a:1,b:1,c:1").unwrap();
    targets.note_status("a:1", &fresh(), ms(40));
    targets.note_status("b:1", &fresh(), ms(20));
    // Of c nothing is known.
    assert_eq!(anyhow(&targets), ["b:1", "a:1", "c:1"]);
    targets.note_status("c:1", &fresh(), ms(18));
    assert_eq!(anyhow(&targets), ["b:1", "c:1", "a:1"]);
    // It moves away, and comes back.
    for _ in 0..50 {
        targets.note_status("b:1", &fresh(), ms(90));
    }
    assert_eq!(anyhow(&targets), ["c:1", "a:1", "b:1"]);
    targets.note_silence("c:1");
    assert_eq!(anyhow(&targets), ["a:1", "b:1", "c:1"]);
    for _ in 0..50 {
        targets.note_status("b:1", &fresh(), ms(2));
    }
    assert_eq!(anyhow(&targets), ["b:1", "a:1", "c:1"]);
}

#[tokio::test]
async fn a_near_node_that_is_not_fresh_or_has_no_room_comes_after_those_that_are() {
    let targets = Targets::parse("near:1,far:1").unwrap();
    let order = |consistency| targets.in_order(consistency)[0].clone();
    targets.note_status("near:1", &status(5, Some(900), Load::Active), ms(1));
    targets.note_status("far:1", &fresh(), ms(30));
    assert_eq!(order(Consistency::Any), "near:1");
    assert_eq!(order(Consistency::Linearizable), "near:1");
    assert_eq!(order(Consistency::MaxStaleness(ms(900))), "near:1");
    assert_eq!(order(Consistency::MaxStaleness(ms(899))), "far:1");
    let at_least = |index| Consistency::AtLeast(Token { shard: 0, index });
    assert_eq!(order(at_least(5)), "near:1");
    assert_eq!(order(at_least(6)), "far:1");
    // Nobody is known to be so far: the nearest may be by now.
    assert_eq!(order(at_least(11)), "near:1");
    targets.note_status("near:1", &status(5, None, Load::Active), ms(1));
    assert_eq!(order(Consistency::MaxStaleness(ms(10_000))), "far:1");
    for load in [Load::Overloaded, Load::Draining] {
        targets.note_status("near:1", &status(10, Some(0), load), ms(1));
        assert_eq!(order(Consistency::Any), "far:1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_survey_is_due_from_time_to_time_and_once() {
    let targets = Targets::parse("a:1").unwrap();
    assert_eq!(targets.due_for_survey(), None);
    tokio::time::advance(SURVEY_EVERY).await;
    assert_eq!(targets.due_for_survey(), Some(vec!["a:1".to_owned()]));
    assert_eq!(targets.due_for_survey(), None);
}
