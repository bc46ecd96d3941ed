//! What the application around the runtime offers.

use super::*;

const MAILER: &str = "shop 1.0.0\ncapabilities: [{ id: shop, requirements: [mailer@^2] }]

mailer 1.0.0\ncapabilities: [{ id: mailer, version: 2.0.0 }]";

/// What stands in the way of `label` beside `beside`, where the application offers `mailer` in this version.
fn beside_host(version: Version, label: &str, beside: &str) -> Vec<String> {
    let hosted = Arc::new(BTreeMap::from([("mailer".to_owned(), version)]));
    found(&snapshot(MAILER).beside(hosted), label, beside).iter().map(ToString::to_string).collect()
}

#[test]
fn a_requirement_is_met_by_the_host_in_a_version_of_its_range() {
    assert_eq!(beside_host(Version::new(2, 1, 0), "shop", ""), [""; 0]);
    let unmet = beside_host(Version::new(1, 0, 0), "shop", "");
    assert!(unmet[0].starts_with("shop@1.0.0 needs the capability `mailer`"), "{unmet:?}");
    assert_eq!(found(&snapshot(MAILER), "shop", "").len(), 1, "without a host");
}

#[test]
fn a_module_does_not_take_the_place_of_the_host() {
    let taken = beside_host(Version::new(1, 0, 0), "mailer", "");
    let expected = "mailer@1.0.0 offers `mailer`, which the host application offers itself; give the capability another id \
                    in the manifest, or start the host without its service";
    assert_eq!(taken, [expected]);
    assert_eq!(found(&snapshot(MAILER), "mailer", ""), [], "without a host");
}

#[test]
fn a_provider_goes_freely_where_the_host_offers_the_same() {
    let hosted = Arc::new(BTreeMap::from([("mailer".to_owned(), Version::new(2, 0, 0))]));
    let (both, alone) = (running("shop@1.0.0 mailer@1.0.0"), snapshot(MAILER));
    assert_eq!(dependents(&one_move("mailer", None), &alone, &both).len(), 1);
    assert_eq!(dependents(&one_move("mailer", None), &alone.beside(hosted), &both), []);
}
