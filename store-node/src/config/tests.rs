//! What a configuration may say, and what is said of what it may not.

use super::*;

fn settings(pairs: &[(&str, &str)]) -> Settings {
    let mut table = toml::Table::new();
    for (key, value) in pairs {
        table.insert((*key).to_owned(), toml::Value::String((*value).to_owned()));
    }
    table.try_into().expect("known keys")
}

#[test]
fn a_node_of_three_with_defaults() {
    let config = Config::check(&settings(&[
        ("id", "2"),
        ("data", "/d"),
        ("identity", "/i"),
        ("bootstrap", "1=a,2=b:7401,3=[::1]:7402"),
    ]))
    .expect("it is whole");
    assert_eq!(config.listen, SocketAddr::from(([127, 0, 0, 1], 7400)));
    assert_eq!(config.http, SocketAddr::from(([127, 0, 0, 1], 7500)));
    let members = config.bootstrap.expect("it was given");
    assert_eq!(members[&1], "a:7400");
    assert_eq!(members[&3], "[::1]:7402");
    assert_eq!(config.in_flight_bytes_max, 64 << 20);
}

#[test]
fn files_are_fetched_at_a_rate_that_ends_or_without_one() {
    let with = |rate| {
        Config::check(&settings(&[
            ("id", "1"),
            ("data", "/d"),
            ("identity", "/i"),
            ("transfer_rate", rate),
        ]))
    };
    let rate = |text| with(text).expect("it is fine").transfer_rate;
    assert_eq!((rate("0"), rate("64KiB")), (0, 64 << 10));
    let error = with("65535").expect_err("a file would take too long");
    assert!(error.to_string().contains("--transfer-rate"), "{error}");
}

#[test]
fn every_problem_is_reported_at_once() {
    let error = Config::check(&settings(&[
        ("id", "0"),
        ("listen", "here"),
        ("bootstrap", "1=a,1=b"),
        ("tail_cache", "5"),
        ("drain_timeout", "soon"),
        ("join", "a"),
    ]))
    .expect_err("nothing of it is right");
    for part in [
        "--id",
        "--data is missing",
        "--identity",
        "--listen",
        "twice",
        "--tail-cache",
        "--drain-timeout",
        "--join",
    ] {
        assert!(error.to_string().contains(part), "{part} is not in {error}");
    }
    assert_eq!(error.problems.len(), 8);
}

#[test]
fn a_list_without_this_node_or_at_odds_with_advertise_is_refused() {
    let base = [("data", "/d"), ("identity", "/i"), ("bootstrap", "1=a,2=b")];
    let with = |more: &[(&str, &str)]| Config::check(&settings(&[&base[..], more].concat()));
    let error = with(&[("id", "3")]).expect_err("3 is not listed");
    assert!(error.to_string().contains("does not list"), "{error}");
    let error = with(&[("id", "1"), ("advertise", "c")]).expect_err("listed as a");
    assert!(error.to_string().contains("give both the same"), "{error}");
    with(&[("id", "1"), ("advertise", "a:7400")]).expect("the same");
}

#[test]
fn a_node_that_joins_says_where_it_is() {
    let base = [
        ("id", "4"),
        ("data", "/d"),
        ("identity", "/i"),
        ("join", "a, b:7401"),
    ];
    let with = |more: &[(&str, &str)]| Config::check(&settings(&[&base[..], more].concat()));
    let config = with(&[]).expect("it listens on one address");
    let members = ["a:7400".to_owned(), "b:7401".to_owned()];
    assert_eq!(config.join.as_deref(), Some(&members[..]));
    let error = with(&[("listen", "0.0.0.0:7400")]).expect_err("nobody knows where it is");
    assert!(error.to_string().contains("--advertise"), "{error}");
    with(&[("listen", "0.0.0.0:7400"), ("advertise", "c")]).expect("it says so");
    let error = with(&[("bootstrap", "4=d")]).expect_err("both");
    assert!(error.to_string().contains("give one of them"), "{error}");
}

#[test]
fn more_than_seven_members_are_refused() {
    let list = |count: u64| {
        (1..=count)
            .map(|id| format!("{id}=h{id}"))
            .collect::<Vec<_>>()
            .join(",")
    };
    assert_eq!(founders(&list(7)).map(|members| members.len()), Ok(7));
    assert!(founders(&list(8)).is_err());
}
