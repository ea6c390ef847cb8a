//! Identity folders: issued, loaded, and refused.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sensor_model::Pattern;
use store_wire::authority::{Authority, AuthorityError, DAYS_MAX, IssueRequest};
use store_wire::clock::{Clock, SystemClock};
use store_wire::identity::{Host, Identity, IdentityError, Role};

use super::world::{MovedClock, World, overwrite, remove};

fn mode(file: &Path) -> u32 {
    std::fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_identity_reads_back_as_it_was_issued() {
    let world = World::new();
    let folder = world.path("node-1");
    let request = IssueRequest {
        hosts: vec!["Store-1.example".into(), "10.0.0.1".into(), "::1".into()],
        days: 30,
        ..IssueRequest::new(Role::Node, "1")
    };
    world
        .authority
        .issue(&request, &folder, &SystemClock)
        .unwrap();
    let identity = Identity::load(&folder).unwrap();
    let own = identity.own();
    assert_eq!(own.to_string(), "spiffe://plant/node/1");
    assert_eq!(
        own.hosts,
        ["store-1.example", "10.0.0.1", "::1"].map(Host::new)
    );
    let days_left = (own.not_after.as_nanos() - SystemClock.now().as_nanos()) / 86_400_000_000_000;
    assert!((29..=30).contains(&days_left), "{days_left}");
    assert_eq!(mode(&folder.join("key.pem")), 0o600);
    assert_eq!(mode(&world.path("ca/ca-key.pem")), 0o600);
}

#[test]
fn a_loaded_authority_issues_what_the_created_one_would() {
    let world = World::new();
    let loaded = Authority::load(&world.path("ca")).unwrap();
    assert_eq!(loaded.cluster(), "plant");
    let folder = world.path("operator");
    let request = IssueRequest::new(Role::Operator, "anna");
    loaded.issue(&request, &folder, &SystemClock).unwrap();
    let identity = Identity::load(&folder).unwrap();
    assert_eq!(identity.own().permissions.write, [Pattern::everything()]);
    assert_eq!(identity.own().permissions.read, [Pattern::everything()]);
}

#[test]
fn nothing_is_overwritten() {
    let world = World::new();
    let before = std::fs::read_to_string(world.path("ca/ca-key.pem")).unwrap();
    let again = Authority::create(&world.path("ca"), "plant", 10, &SystemClock);
    assert!(matches!(again, Err(AuthorityError::Exists { .. })));
    assert_eq!(
        std::fs::read_to_string(world.path("ca/ca-key.pem")).unwrap(),
        before
    );
    let folder = world.path("device");
    let request = IssueRequest::new(Role::Device, "a");
    world
        .authority
        .issue(&request, &folder, &SystemClock)
        .unwrap();
    let before = std::fs::read_to_string(folder.join("key.pem")).unwrap();
    let again = world.authority.issue(&request, &folder, &SystemClock);
    assert!(matches!(again, Err(AuthorityError::Exists { .. })));
    assert_eq!(
        std::fs::read_to_string(folder.join("key.pem")).unwrap(),
        before
    );
}

#[test]
fn what_cannot_be_issued_leaves_no_files() {
    let world = World::new();
    let device = IssueRequest::new(Role::Device, "a");
    let refused = [
        IssueRequest {
            name: "a/b".into(),
            ..device.clone()
        },
        IssueRequest {
            name: String::new(),
            ..device.clone()
        },
        IssueRequest {
            days: 0,
            ..device.clone()
        },
        IssueRequest {
            days: DAYS_MAX + 1,
            ..device.clone()
        },
        IssueRequest {
            days: 3650,
            ..device.clone()
        },
        IssueRequest {
            hosts: vec!["a.example".into()],
            ..device.clone()
        },
        IssueRequest {
            read: vec![Pattern::everything()],
            ..device
        },
        IssueRequest {
            hosts: vec!["not a host".into()],
            ..IssueRequest::new(Role::Node, "1")
        },
        IssueRequest {
            write: vec![Pattern::everything()],
            ..IssueRequest::new(Role::Reader, "a")
        },
    ];
    for request in refused {
        let folder = world.path("refused");
        let outcome = world.authority.issue(&request, &folder, &SystemClock);
        assert!(outcome.is_err(), "{request:?} was issued");
        assert!(!folder.exists());
    }
    for cluster in ["", "a/b", "a b", "plant:1"] {
        let outcome = Authority::create(&world.path("refused"), cluster, 10, &SystemClock);
        assert!(outcome.is_err(), "{cluster:?} was taken");
        assert!(!world.path("refused").exists());
    }
}

#[test]
fn an_authority_past_its_end_issues_nothing() {
    let world = World::new();
    let request = IssueRequest::new(Role::Device, "a");
    let outcome = world
        .authority
        .issue(&request, &world.path("late"), &MovedClock::by_days(4000));
    assert!(matches!(
        outcome,
        Err(AuthorityError::OutlivesAuthority { .. })
    ));
}

fn folder_with(world: &World, name: &str) -> std::path::PathBuf {
    let folder = world.path(name);
    let request = IssueRequest::new(Role::Device, name);
    world
        .authority
        .issue(&request, &folder, &SystemClock)
        .unwrap();
    folder
}

#[test]
fn a_key_that_others_may_read_is_refused_with_the_remedy() {
    let world = World::new();
    let folder = folder_with(&world, "open");
    let key = folder.join("key.pem");
    for bits in [0o640, 0o604, 0o620, 0o644, 0o777] {
        std::fs::set_permissions(&key, PermissionsExt::from_mode(bits)).unwrap();
        let error = Identity::load(&folder).unwrap_err();
        assert!(
            matches!(error, IdentityError::KeyTooOpen { .. }),
            "{error:?}"
        );
        let remedy = format!("chmod 600 {}", key.display());
        assert!(error.to_string().contains(&remedy), "{error}");
    }
    for bits in [0o600, 0o400] {
        std::fs::set_permissions(&key, PermissionsExt::from_mode(bits)).unwrap();
        Identity::load(&folder).unwrap();
    }
}

#[test]
fn a_missing_file_is_named() {
    let world = World::new();
    for name in ["cert.pem", "key.pem", "ca.pem"] {
        let folder = folder_with(&world, name);
        remove(&folder.join(name));
        let error = Identity::load(&folder).unwrap_err();
        assert!(matches!(&error, IdentityError::Missing { file } if file.ends_with(name)));
        assert!(error.to_string().contains("store-node ca issue"), "{error}");
    }
}

#[test]
fn damaged_pem_is_named() {
    let world = World::new();
    for name in ["cert.pem", "key.pem", "ca.pem"] {
        let folder = folder_with(&world, name);
        let good = std::fs::read_to_string(folder.join(name)).unwrap();
        let cut = good[..good.len() / 2].to_owned();
        let flipped = good.replacen("MI", "MJ", 1);
        for damaged in [String::new(), "nonsense".to_owned(), cut, flipped] {
            overwrite(&folder.join(name), &damaged);
            let error = Identity::load(&folder).unwrap_err();
            assert!(
                error.to_string().contains(name),
                "{damaged:?} gave {error:?}"
            );
        }
    }
}

#[test]
fn files_of_different_folders_do_not_mix() {
    let (world, other) = (World::new(), World::new());
    let (one, two) = (folder_with(&world, "one"), folder_with(&world, "two"));
    std::fs::copy(two.join("key.pem"), one.join("key.pem")).unwrap();
    let error = Identity::load(&one).unwrap_err();
    assert!(matches!(error, IdentityError::NotAPair { .. }), "{error:?}");
    std::fs::copy(other.path("ca/ca.pem"), two.join("ca.pem")).unwrap();
    let error = Identity::load(&two).unwrap_err();
    assert!(
        matches!(error, IdentityError::OtherAuthority { .. }),
        "{error:?}"
    );
    // An authority's own certificate is no identity.
    let three = folder_with(&world, "three");
    std::fs::copy(world.path("ca/ca.pem"), three.join("cert.pem")).unwrap();
    let error = Identity::load(&three).unwrap_err();
    assert!(
        matches!(error, IdentityError::NotAnIdentity { .. }),
        "{error:?}"
    );
}
