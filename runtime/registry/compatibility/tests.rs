use super::*;
use crate::registry::resolver::tests::snapshot;

/// Versions of `m`, each with what its manifest says of updates.
fn registered(versions: &[(&str, &str)]) -> Snapshot {
    let blocks = versions.iter().map(|(version, updates)| match *updates {
        "" => format!("m {version}"),
        updates => format!("m {version}\nlifecycle: {{ updates: {updates} }}"),
    });
    snapshot(&blocks.collect::<Vec<_>>().join("\n\n"))
}

const LEADS: &str =
    r#"{ compatibility: { "3.0.0": "^2.2" }, migrationPaths: [{ from: ">=1", via: [2.0.0, 2.1.0], to: 3.0.0 }] }"#;

/// How `to` can take over from `from`.
fn leads(snapshot: &Snapshot, from: &str, to: &str) -> String {
    let to = snapshot.get("m", &to.parse().unwrap()).unwrap();
    snapshot.version_compatibility(&to.manifest, &from.parse().unwrap()).way.to_string()
}

#[test]
fn a_path_does_not_lead_around_what_the_manifest_follows() {
    let all =
        [("1.0.0", ""), ("2.0.0", ""), ("2.1.0", ""), ("2.1.5", ""), ("2.2.0", ""), ("3.0.0", LEADS), ("4.0.0", "")];
    let snapshot = registered(&all);
    for (from, expected) in [
        ("1.0.0", "by 2.0.0, 2.1.0"),
        ("2.0.0", "by 2.1.0"),
        ("2.1.0", "directly"),
        ("2.1.5", "by no way"),
        ("2.2.0", "directly"),
        ("4.0.0", "by no way"),
    ] {
        assert_eq!(leads(&snapshot, from, "3.0.0"), expected, "{from}");
    }
}

#[test]
fn each_version_on_the_way_must_follow_the_one_before_by_its_own_manifest() {
    let with = |first: &str, second: &str| {
        let snapshot = registered(&[("1.0.0", ""), ("2.0.0", first), ("2.1.0", second), ("3.0.0", LEADS)]);
        leads(&snapshot, "1.0.0", "3.0.0")
    };
    let refused =
        |stop: &str, after: &str| format!("by 2.0.0, 2.1.0, of which {stop} cannot follow {after} by its own manifest");
    assert_eq!(with("", ""), "by 2.0.0, 2.1.0");
    assert_eq!(with("{ supported: false }", ""), refused("2.0.0", "1.0.0"));
    assert_eq!(with("", r#"{ compatibility: { "2.1.0": ">=2.0.1" } }"#), refused("2.1.0", "2.0.0"));
    assert_eq!(with(r#"{ compatibility: { "2.0.0": "^1" } }"#, ""), "by 2.0.0, 2.1.0");
    let missing = registered(&[("1.0.0", ""), ("2.1.0", ""), ("3.0.0", LEADS)]);
    assert_eq!(leads(&missing, "1.0.0", "3.0.0"), "by 2.0.0, 2.1.0, of which 2.0.0 is not registered");
}

#[test]
fn compatibility_is_given_where_there_is_a_way_and_nothing_is_lost() {
    let offers = |version: &str, methods: &str| {
        format!(
            "m {version}\ncapabilities: [{{ id: mail, version: 1.0.0, interfaces: [{{ name: send, methods: [{methods}] }}] }}]"
        )
    };
    let snapshot =
        snapshot(&[offers("1.0.0", "one, many"), offers("1.1.0", "one"), offers("1.2.0", "one, many")].join("\n\n"));
    let of = |to: &str| {
        let to = snapshot.get("m", &to.parse().unwrap()).unwrap();
        snapshot.version_compatibility(&to.manifest, &Version::new(1, 0, 0))
    };
    assert!(of("1.2.0").compatible && of("1.2.0").differences.is_empty());
    let less = of("1.1.0");
    assert_eq!((less.compatible, &less.way), (false, &Way::Direct));
    assert_eq!(less.differences[0].to_string(), "`mail` 1.0.0 lacks `send.many` that 1.0.0 has");
    let from = Version::new(1, 0, 0);
    let compatible: Vec<_> = snapshot.compatible_versions("m", &from).map(|it| it.version.to_string()).collect();
    assert_eq!(compatible, ["1.2.0"]);
}
