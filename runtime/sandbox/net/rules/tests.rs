//! Hostile and honest targets against grants.

use replug_scripts::HostErrorKind;

use super::*;
use crate::sandbox::permissions::{Asked, Standing};

fn rules(hosts: &[(&str, u16)]) -> NetworkRules {
    let grants = hosts.iter().map(|(host, port)| NetworkPermission { host: (*host).into(), ports: vec![*port] });
    NetworkRules::new(&grants.collect::<Vec<_>>(), &NetworkQuota::default())
}

fn target(url: &str) -> Target {
    Target::parse(url).unwrap()
}

#[test]
fn only_what_is_granted_may_be_asked() {
    let rules = rules(&[("api.x.org", 443), ("*.y.org", 8443), ("10.0.0.5", 80), ("::1", 80), ("localhost", 80)]);
    for url in [
        "https://api.x.org/a",
        "https://API.X.ORG",
        "https://a.y.org:8443",
        "https://a.b.y.org:8443",
        "http://10.0.0.5",
        "http://0xa000005/",
        "http://[::ffff:10.0.0.5]/",
        "http://[::1]",
        "http://localhost/",
    ] {
        assert_eq!(rules.check("http.get", &target(url)), Ok(()), "{url}");
    }
    for url in [
        "http://api.x.org",
        "https://api.x.org:444",
        "https://x.org",
        "https://a.api.x.org",
        "https://api.x.org.evil.org",
        "https://y.org:8443",
        "https://evily.org:8443",
        "https://a.y.org",
        "http://10.0.0.6",
        "http://[::2]",
        "http://10.0.0.5.nip.io",
        "http://localhost.evil.org",
        "http://evil.localhost",
        "http://127.0.0.1",
    ] {
        let error = rules.check("http.get", &target(url)).expect_err(url);
        assert_eq!(error.kind, HostErrorKind::PermissionDenied, "{url}");
    }
    let error = rules.check("http.get", &target("https://other.org/x")).unwrap_err();
    let told = "permission denied: http.get: this module may not talk to other.org on port 443; `permissions: { system: { \
                network: [{ host: other.org, ports: [443] }] } }` in module.manifest.yaml would grant it";
    assert_eq!(error.message, told);
}

#[test]
fn a_refusal_names_the_line_that_asks_and_what_became_of_it() {
    let mut rules = rules(&[]);
    let permission = Permission::Network { host: "*.x.org".into(), port: 443 };
    let asked = Asked { permission, line: Some(7), needs_grant: true };
    rules.explain("shop", [Ruled { asked, standing: Standing::Waiting, given: Vec::new(), decided: None }].into());
    let told = |url: &str| rules.check("http.get", &target(url)).expect_err(url).message;
    assert_eq!(
        told("https://api.x.org/a"),
        "permission denied: http.get: module.manifest.yaml:7 asks for system.network:*.x.org:443, which no administrator \
         granted yet (here system.network:api.x.org:443); an administrator grants it: replug permissions grant shop \
         'system.network:*.x.org:443'"
    );
    assert_eq!(
        told("http://127.1/"),
        "permission denied: http.get: this module does not ask for system.network:127.0.0.1:80; `permissions: { system: { \
         network: [{ host: \"127.0.0.1\", ports: [80] }] } }` in module.manifest.yaml would ask for it, and an \
         administrator grants it: replug permissions grant shop"
    );
}

#[test]
fn an_address_may_be_granted_in_each_way_that_urls_know_and_no_pattern_holds_one() {
    for host in ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "::ffff:127.0.0.1"] {
        let rules = rules(&[(host, 80)]);
        for url in ["http://127.0.0.1", "http://0x7f.1", "http://[::ffff:127.0.0.1]"] {
            assert_eq!(rules.check("http.get", &target(url)), Ok(()), "{host}, {url}");
        }
        assert!(rules.check("http.get", &target("http://127.0.0.2")).is_err(), "{host}");
    }
    let rules = rules(&[("*.0.0.1", 80), ("*.x.org", 80)]);
    for url in ["http://127.0.0.1", "http://127.1", "http://.x.org", "http://x.org"] {
        assert!(rules.check("http.get", &target(url)).is_err(), "{url}");
    }
}

#[test]
fn quotas_narrow_what_is_granted_and_name_their_line() {
    let grants = ["a.org", "b.org"].map(|host| NetworkPermission { host: host.into(), ports: vec![443, 444, 80] });
    let quota = NetworkQuota {
        allowed_hosts: vec!["a.org".into()],
        allowed_ports: vec![443, 80],
        ssl_required: true,
        ..NetworkQuota::default()
    };
    let rules = NetworkRules::new(&grants, &quota);
    assert_eq!(rules.check("http.get", &target("https://a.org")), Ok(()));
    for (url, line) in [
        ("https://b.org", "allowedHosts: [\"a.org\", \"b.org\"]"),
        ("https://a.org:444", "allowedPorts: [443, 80, 444]"),
        ("http://a.org", "sslRequired: false"),
    ] {
        let error = rules.check("http.get", &target(url)).expect_err(url);
        assert!(error.message.contains(line), "{error}");
    }
}

#[test]
fn a_refusal_does_not_repeat_a_long_list() {
    let ports: Vec<u16> = (1000..1000 + 21).collect();
    let grants = [NetworkPermission { host: "a.org".into(), ports: vec![80, 443] }];
    let refusal = |ports: &[u16]| {
        let quota = NetworkQuota { allowed_ports: ports.to_vec(), ..NetworkQuota::default() };
        NetworkRules::new(&grants, &quota).permit("http.get", "a.org", 443).expect_err("it is not in the list").message
    };
    assert!(refusal(&ports).contains("allowedPorts: […, 443]"), "{}", refusal(&ports));
    assert!(refusal(&ports[1..]).contains("allowedPorts: [1001, "), "{}", refusal(&ports[1..]));
}

/// Name, its grants, the address it was looked up to, whether that may be connected to.
type Row = (&'static str, &'static [(&'static str, u16)], &'static str, bool);

#[test]
fn what_a_name_is_looked_up_to_is_open_only_where_the_grant_means_it() {
    let table: &[Row] = &[
        ("http://api.x.org", &[("api.x.org", 80)], "93.184.216.34", true),
        ("http://api.x.org", &[("api.x.org", 80)], "127.0.0.1", false),
        ("http://api.x.org", &[("api.x.org", 80)], "10.0.0.1", false),
        ("http://api.x.org", &[("api.x.org", 80)], "::ffff:10.0.0.1", false),
        ("http://api.x.org", &[("api.x.org", 80)], "64:ff9b::10.0.0.1", false),
        ("http://api.x.org", &[("api.x.org", 80)], "169.254.169.254", false),
        ("http://api.x.org", &[("api.x.org", 80)], "fd00:ec2::254", false),
        ("http://api.x.org", &[("api.x.org", 80)], "0.0.0.0", false),
        ("http://api.x.org", &[("api.x.org", 80)], "100.64.0.1", false),
        ("http://api.x.org", &[("api.x.org", 80), ("10.0.0.1", 80)], "10.0.0.1", true),
        ("http://api.x.org", &[("api.x.org", 80), ("10.0.0.1", 81)], "10.0.0.1", false),
        ("http://a.x.org", &[("*.x.org", 80)], "192.168.1.1", false),
        ("http://localhost", &[("localhost", 80)], "127.0.0.1", true),
        ("http://localhost", &[("localhost", 80)], "::1", true),
        ("http://localhost", &[("localhost", 80)], "169.254.169.254", false),
        ("http://billing.internal", &[("billing.internal", 80)], "10.1.2.3", true),
        ("http://billing.internal", &[("*.internal", 80)], "10.1.2.3", false),
        ("http://billing.internal", &[("billing.internal", 80)], "169.254.169.254", false),
        ("http://169.254.169.254", &[("169.254.169.254", 80)], "169.254.169.254", true),
        ("http://127.0.0.1", &[("127.0.0.1", 80)], "127.0.0.1", true),
        ("http://2130706433", &[("127.0.0.1", 80)], "127.0.0.1", true),
        ("http://127.0.0.1", &[("localhost", 80)], "127.0.0.1", false),
        ("http://0.0.0.0", &[("0.0.0.0", 80)], "0.0.0.0", false),
        ("http://224.0.0.1", &[("224.0.0.1", 80)], "224.0.0.1", false),
        ("http://10.0.0.5", &[("10.0.0.5", 81)], "10.0.0.5", false),
    ];
    for (url, grants, address, expected) in table {
        let open = rules(grants).opens(&target(url), address.parse().unwrap());
        assert_eq!(open, *expected, "{url} with {grants:?} at {address}");
    }
}
