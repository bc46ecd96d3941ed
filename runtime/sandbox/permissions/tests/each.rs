//! Each permission: what is granted works; what is not fails with a message that names the line of the manifest.

use super::*;
use crate::manifest::Access;

/// A use of each permission of [`ASKS`], the line that asks for it, and uses that no grant of it allows.
const USES: &[(&str, usize, &[&str])] = &[
    ("system.database:shop:write", 6, &["system.database:other:read"]),
    ("system.database:shop:read", 6, &[]),
    ("system.filesystem:in/new/today.csv:write", 8, &["system.filesystem:in:read", "system.filesystem:in/newer:read"]),
    ("system.filesystem:in/new:read", 8, &["system.filesystem:out:write"]),
    ("system.network:api.x.org:443", 10, &["system.network:x.org:443", "system.network:apix.org:443"]),
    ("system.network:a.b.x.org:8443", 10, &["system.network:api.x.org:80", "system.network:x.org.evil.io:443"]),
    ("system.network:10.0.0.7:80", 11, &["system.network:10.0.0.70:80", "system.network:[::ffff:a00:8]:80"]),
    ("system.environment:HOME", 13, &["system.environment:PATH", "system.environment:HOMES"]),
    ("application.routes:/shop/cart", 16, &["application.routes:/shop", "application.routes:/shopping/cart"]),
    ("application.apis:/api/shop/7", 18, &["application.apis:/api/shop", "application.apis:/api/shop/7/x"]),
    ("application.components:Chart", 20, &["application.components:Charts"]),
    ("application.configurations:shop.currency", 22, &["application.configurations:shop.secret"]),
    ("application.configurations:shop:vat.rate", 22, &["application.configurations:other.currency"]),
    ("resources.memory.maxHeapSize=200MiB", 25, &["resources.memory.maxHeapSize=201MiB"]),
    ("resources.storage.max=128MiB", 27, &["resources.storage.max=129MiB"]),
    ("resources.network.connectionLimit=16", 29, &["resources.network.connectionLimit=17"]),
];

#[tokio::test]
async fn what_is_asked_for_works_once_it_is_granted_and_not_before() {
    let world = World::new();
    let manifest = module("1.0.0", ASKS);
    let live = world.open(&manifest);
    for (used, line, _) in USES {
        let denied = live.grants().permit("f", &permission(used)).expect_err(used).message;
        let place = format!("module.manifest.yaml:{line} asks for ");
        assert!(denied.starts_with("permission denied: f: ") && denied.contains(&place), "{denied}");
        assert!(
            denied.contains("no administrator granted yet") && denied.contains("replug permissions grant m '"),
            "{denied}"
        );
    }
    let granted = world.manager.grant_all_asked(&manifest, Who::Admin).await.unwrap();
    assert_eq!(granted.len(), 14, "{granted:?}");
    for (used, _, never) in USES {
        live.grants().permit("f", &permission(used)).unwrap_or_else(|denied| panic!("{used}: {denied}"));
        for used in *never {
            let denied = live.grants().permit("f", &permission(used)).expect_err(used).message;
            assert!(denied.contains("this module does not ask for "), "{used}: {denied}");
        }
    }
    assert!(world.manager.has_permission("m", &permission("system.environment:HOME")));
    assert!(!world.manager.has_permission("m", &permission("system.environment:PATH")));
    assert!(!world.manager.has_permission("n", &permission("system.environment:HOME")), "it does not run");
}

#[tokio::test]
async fn what_no_manifest_asks_for_is_denied_with_the_line_that_would_ask() {
    let live = World::new().open(&module("1.0.0", ""));
    let cases = [
        ("system.network:api.x.org:443", "network: [{ host: api.x.org, ports: [443] }]"),
        ("system.filesystem:in:read", "filesystem: [{ path: in, access: read }]"),
        ("system.environment:HOME", "environment: [HOME]"),
        ("system.database:shop:read", "database: [{ module: shop, access: read }]"),
        ("application.apis:/api/shop", "apis: [/api/shop]"),
        ("application.configurations:shop.currency", "configurations: [{ module: shop, keys: [currency] }]"),
        ("resources.storage.max=1GiB", "storage: { max: 1GiB }"),
    ];
    for (used, line) in cases {
        let denied = live.grants().permit("f", &permission(used)).expect_err(used).message;
        assert!(denied.contains(&format!("this module does not ask for {used}; `permissions: {{ ")), "{denied}");
        assert!(denied.contains(line) && denied.contains("replug permissions grant m"), "{denied}");
    }
    let denied = live.grants().caller_database("db.for_caller").expect_err("it asks for nothing").message;
    assert_eq!(
        denied,
        "permission denied: db.for_caller: this module does not ask for the databases of its callers; `permissions: { \
         system: { database: [{ module: caller, access: read }] } }` in module.manifest.yaml would grant it"
    );
}

#[tokio::test]
async fn the_callers_database_needs_no_grant_and_can_be_denied_and_narrowed() {
    let world = World::new();
    let manifest = module("1.0.0", "permissions: { system: { database: [{ module: caller, access: write }] } }\n");
    let live = world.open(&manifest);
    assert!(world.manager.waiting(&manifest).is_empty());
    assert_eq!(live.grants().caller_database("f"), Ok(Access::Write));
    world.decide(&manifest, Ruling::Narrow, &["system.database:caller:read"]).await;
    assert_eq!(live.grants().caller_database("f"), Ok(Access::Read));
    world.decide(&manifest, Ruling::Deny, &["system.database:caller:write"]).await;
    let denied = live.grants().caller_database("f").expect_err("it is denied").message;
    assert!(
        denied.contains("module.manifest.yaml:3 asks for system.database:caller:write, which an administrator denied")
    );
    world.decide(&manifest, Ruling::Grant, &["system.database:caller:write"]).await;
    assert_eq!(live.grants().caller_database("f"), Ok(Access::Write));
}

#[tokio::test]
async fn who_asks_to_read_alone_hears_of_that_line_and_of_the_one_that_asks_to_write() {
    let world = World::new();
    let asks = "permissions:\n  system:\n    filesystem: [{ path: in, access: read }]\n    database: [{ module: caller, \
                access: read }]\n";
    let live = world.open(&module("1.0.0", asks));
    assert_eq!(
        live.grants().filesystem("fs.write", "in/x", Access::Write).expect_err("it asks to read").message,
        "permission denied: fs.write: module.manifest.yaml:5 asks for system.filesystem:in:read only (here \
         system.filesystem:in/x:write); `permissions: { system: { filesystem: [{ path: in/x, access: write }] } }` in \
         module.manifest.yaml would ask for it, and an administrator grants it: replug permissions grant m"
    );
    assert_eq!(
        live.grants().refuse_change("db.for_caller", CALLER).message,
        "permission denied: db.for_caller: module.manifest.yaml:6 asks for system.database:caller:read only (here \
         system.database:caller:write); `permissions: { system: { database: [{ module: caller, access: write }] } }` in \
         module.manifest.yaml would grant it"
    );
}

#[tokio::test]
async fn an_address_is_one_address_however_it_is_written_and_a_name_whatever_its_case() {
    let world = World::new();
    let asks = "permissions: { system: { network: [{ host: \"::1\", ports: [80] }, { host: \"*.0.0.1\", ports: [80] }, \
                { host: x.org, ports: [80] }] } }\n";
    let manifest = module("1.0.0", asks);
    let live = world.open(&manifest);
    world.manager.grant_all_asked(&manifest, Who::Admin).await.unwrap();
    let may = |host: &str| live.grants().network("f", host, 80).is_ok();
    assert!(may("::1") && may("0:0:0:0:0:0:0:1") && may("x.org") && may("X.Org") && may("x.org."));
    assert!(!may("127.0.0.1"), "the parts of an address are no domains");
    assert!(!may("::ffff:127.0.0.1") && !may("") && !may(".") && !may("x.org.."));
}

#[tokio::test]
async fn the_manifests_own_bounds_of_the_network_hold_beside_the_grant() {
    let world = World::new();
    let asks = "permissions:\n  system: { network: [{ host: \"*.x.org\", ports: [80, 443] }] }\n  resources: { network: { \
                allowedHosts: [a.x.org], allowedPorts: [443] } }\n";
    let manifest = module("1.0.0", asks);
    let live = world.open(&manifest);
    world.manager.grant_all_asked(&manifest, Who::Admin).await.unwrap();
    let asked = |host: &str, port| live.grants().network("f", host, port).map_err(|error| error.message);
    assert_eq!(asked("a.x.org", 443), Ok(()));
    assert_eq!(
        asked("b.x.org", 443).expect_err("left out"),
        "permission denied: f: b.x.org is not among the allowedHosts of module.manifest.yaml:5; `permissions: { resources: { \
         network: { allowedHosts: [\"a.x.org\", \"b.x.org\"] } } }` in module.manifest.yaml would grant it"
    );
    assert_eq!(
        asked("a.x.org", 80).expect_err("left out"),
        "permission denied: f: port 80 is not among the allowedPorts of module.manifest.yaml:5; `permissions: { resources: { \
         network: { allowedPorts: [443, 80] } } }` in module.manifest.yaml would grant it"
    );
}

#[test]
fn settings_of_one_module_asked_for_in_several_entries_are_all_allowed() {
    let setting = |key: &str| crate::manifest::ConfigurationPermission { module: "a".into(), keys: vec![key.into()] };
    let application = crate::manifest::ApplicationPermissions {
        configurations: vec![setting("one"), setting("two")],
        ..Default::default()
    };
    let effective = crate::manifest::Permissions { application, ..Default::default() };
    let grants = Grants::compile(&module("1.0.0", ""), &effective);
    assert!(grants.configuration("f", "a", "one").is_ok() && grants.configuration("f", "a", "two").is_ok());
    assert!(grants.configuration("f", "a", "three").is_err() && grants.configuration("f", "b", "one").is_err());
}

#[test]
fn what_ends_in_a_star_allows_parts_of_any_length_below_it_and_not_the_path_itself() {
    for pattern in ["/api/*", "/{id}/*", "/{id}/{*rest}"] {
        let application = crate::manifest::ApplicationPermissions { apis: vec![pattern.into()], ..Default::default() };
        let effective = crate::manifest::Permissions { application, ..Default::default() };
        let grants = Grants::compile(&module("1.0.0", ""), &effective);
        for path in ["/api/a", "/api/ab", "/api/a/b"] {
            assert!(grants.api("f", path).is_ok(), "{pattern}: {path}");
        }
        assert!(grants.api("f", "/api").is_err() && grants.api("f", "/api/").is_err(), "{pattern}");
    }
}

#[test]
fn a_path_with_parts_that_lead_elsewhere_is_never_inside() {
    let effective = crate::manifest::Permissions {
        system: crate::manifest::SystemPermissions {
            filesystem: vec![crate::manifest::FilesystemPermission { path: "in".into(), access: Access::Write }],
            ..Default::default()
        },
        application: crate::manifest::ApplicationPermissions { apis: vec!["/api/*".into()], ..Default::default() },
        ..Default::default()
    };
    let grants = Grants::compile(&module("1.0.0", ""), &effective);
    for path in ["in/../out", "in//x", "in/.", "./in", "/in", "in/", "", ".."] {
        assert!(grants.filesystem("f", path, Access::Read).is_err(), "{path}");
    }
    for path in ["/api/../x", "/api/./x", "api/x", "", "/api", "/api/"] {
        assert!(grants.api("f", path).is_err(), "{path}");
    }
    assert!(grants.filesystem("f", "in/x", Access::Write).is_ok() && grants.api("f", "/api/x").is_ok());
}
