//! Activation, health checks, triggers, updates.

use super::check;
use crate::manifest::Mirror;

#[test]
fn triggers_have_the_threshold_of_their_kind() {
    check(
        r#"lifecycle:
  activation:
    rollbackTriggers:
      - { type: errorRateExceeded, threshold: 5 }
                                              ^ lifecycle.activation.rollbackTriggers[0].threshold: expected a number above 0, at most 1, found the number 5
      - { type: responseTimeExceeded, threshold: 200ms, afterConfirm: rollback }
      - { type: criticalError, threshold: 1 }
                                          ^ lifecycle.activation.rollbackTriggers[2].threshold: this trigger has no threshold
                                            help: only errorRateExceeded (a share such as 0.05) and responseTimeExceeded (a duration) have one
      - { threshold: 1 }
        ^ lifecycle.activation.rollbackTriggers[3]: missing `type`
"#,
    );
}

#[test]
fn health_checks_ask_one_thing() {
    check(
        r#"lifecycle:
  activation:
    healthChecks:
      - endpoint: health
                  ^ lifecycle.activation.healthChecks[0].endpoint: `health`: a path begins with `/`
                    help: write `/health`
      - endpoint: /a/{b}
                  ^ lifecycle.activation.healthChecks[1].endpoint: expected a path without parameters, found `/a/{b}`
      - { endpoint: /a, service: a.b }
                                 ^ lifecycle.activation.healthChecks[2].service: a check asks one thing, and `service` is a second
                                   help: make it a check of its own
      - { database: tables }
        ^ lifecycle.activation.healthChecks[3]: the module has no `database` to check
          help: declare `database`, or remove this check
      - { timeout: 5000 }
        ^ lifecycle.activation.healthChecks[4]: missing what to check
          help: write `endpoint: /health`, `database: NAME`, `service: CAPABILITY.METHOD` or `custom: NAME`
      - { type: endpoint }
        ^ lifecycle.activation.healthChecks[5]: missing `config`
          help: write `config: { path: /health }`
      - { type: endpoint, config: { url: /x } }
                                  ^ lifecycle.activation.healthChecks[6].config: missing `path`
                                    ^ unknown key `url` in lifecycle.activation.healthChecks[6].config
                                      help: the only key here is path
      - { type: service, config: { service: reports } }
                                            ^ lifecycle.activation.healthChecks[7].config.service: expected the name of a service, found `reports`
                                              help: a capability, a dot, and one of its methods: reports.ping
      - { type: service, config: { service: reports.ping } }
      - { type: custom, config: { x: 1 } }
                                  ^ unknown key `x` in lifecycle.activation.healthChecks[9].config
                                    help: nothing is set here: remove it
      - { custom: mine, config: {} }
                                ^ lifecycle.activation.healthChecks[10].config: only a check with `type` has it
                                  help: the short form holds all: remove `config`
      - { type: http }
                ^ lifecycle.activation.healthChecks[11].type: expected one of endpoint, database, service, custom, found `http`
      - { type: custom, endpoint: /x }
                                  ^ lifecycle.activation.healthChecks[12].endpoint: a check asks one thing, and `endpoint` is a second
                                    help: make it a check of its own
"#,
    );
}

#[test]
fn updates_name_versions_in_order() {
    check(
        r#"lifecycle:
  updates:
    migrationPaths:
      - { from: "^1", via: [1.5.0, 1.4.0], to: 2.0.0 }
                                   ^ lifecycle.updates.migrationPaths[0].via[1]: 1.4.0 is not between the one before and `to`
                                     help: the stops ascend and stay below `to`
      - { from: "^1", via: [2.0.0], to: 2.0.0 }
                            ^ lifecycle.updates.migrationPaths[1].via[0]: 2.0.0 is not between the one before and `to`
                              help: the stops ascend and stay below `to`
      - { from: one }
        ^ lifecycle.updates.migrationPaths[2]: missing `to`
                ^ lifecycle.updates.migrationPaths[2].from: expected a range of versions, found `one`
                  help: write a range such as ">=1.0.0", "^1", ">=1, <3" or "*": unexpected character 'o' while parsing major version number
    compatibility: { 2.0: ">=1.5", "3.0.0": new, 4.0.0: "*" }
                     ^ lifecycle.updates.compatibility.2.0: the key is not a version: unexpected end of input while parsing minor version number
                       help: write it as "2.0.0": ">=1.5"
                                            ^ lifecycle.updates.compatibility.3.0.0: expected a range of versions, found `new`
                                              help: write a range such as ">=1.0.0", "^1", ">=1, <3" or "*": unexpected character 'n' while parsing major version number
"#,
    );
}

#[test]
fn legal_but_probably_not_meant_is_a_warning() {
    check(
        r#"runtime:
  workers: 8
  limits: { cpuTime: 2s }
          ⚠ runtime.limits: a call ends after wallTime 1s, before cpuTime 2s
            help: give wallTime more than cpuTime
database:
  migrations: [{ version: 1.0.0, file: a.sql }]
permissions:
  resources: { memory: { maxHeapSize: 64MiB } }
                                      ⚠ permissions.resources.memory.maxHeapSize: 67108864 bytes are less than all VMs may use together (268435456)
                                        help: raise it, or lower runtime.workers or runtime.limits.memory
lifecycle:
  activation:
    strategy: instant
              ⚠ lifecycle.activation.strategy: an instant activation is refused while migrations are pending
                help: write `strategy: gradual`
    timeout: 2s
    healthChecks: [{ endpoint: /health }]
                   ⚠ lifecycle.activation.healthChecks[0]: the check may take longer than the whole activation
                     help: raise activation.timeout, or lower the check's
"#,
    );
}

#[test]
fn a_mirror_names_methods_and_a_share() {
    check(
        r#"lifecycle:
  activation:
    trafficShifting: { mirror: sometimes }
                               ^ lifecycle.activation.trafficShifting.mirror: expected true, false, or a map with `methods` and `share`, found `sometimes`
"#,
    );
    check(
        r#"lifecycle:
  activation:
    trafficShifting:
      mirror:
        methods: [GET, get, GET, FETCH]
                       ^ lifecycle.activation.trafficShifting.mirror.methods[1]: expected a method, found `get`
                         help: methods are upper case: GET
                            ^ duplicate method `GET`: it stands in line 7 already
                              help: keep one of the two
                                 ^ lifecycle.activation.trafficShifting.mirror.methods[3]: expected one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, found `FETCH`
        share: 0
               ^ lifecycle.activation.trafficShifting.mirror.share: expected a whole number from 1 to 100, found the number 0
        interval: 1s
        ^ unknown key `interval` in lifecycle.activation.trafficShifting.mirror
          help: the keys here are methods, share
"#,
    );
    check(
        r#"lifecycle:
  activation:
    trafficShifting: { mirror: { methods: [] } }
                                          ^ lifecycle.activation.trafficShifting.mirror.methods: no methods
                                            help: name at least one, as ["GET"]
"#,
    );
}

#[test]
fn a_mirror_copies_safe_methods_unless_others_are_declared() {
    let mirror = |text: &str| {
        let text = format!("id: m\nversion: 1.0.0\nlifecycle: {{ activation: {{ trafficShifting: {{ {text} }} }} }}\n");
        let loaded = crate::manifest::load(crate::manifest::FILE_NAME, text.as_bytes());
        loaded.unwrap_or_else(|faults| panic!("{faults:?}")).manifest.lifecycle.activation.traffic_shifting.mirror
    };
    let of = |methods: &[&str], share| {
        let methods = methods.iter().map(|method| (*method).to_owned()).collect();
        Some(Mirror { methods, share })
    };
    assert_eq!(mirror("interval: 1s"), None);
    assert_eq!(mirror("mirror: false"), None);
    for whole in ["mirror: true", "mirror: {}", "mirror:", "mirror: { share: 100 }"] {
        assert_eq!(mirror(whole), of(&["GET", "HEAD"], 100), "{whole}");
    }
    assert_eq!(mirror("mirror: { methods: [GET, POST], share: 5 }"), of(&["GET", "POST"], 5));
}
