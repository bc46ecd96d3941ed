//! Limits, choices and what a module asks for.

use super::check;

#[test]
fn unknown_keys_are_faults_at_every_level() {
    check(
        r#"licence: MIT
^ unknown key `licence`
  help: did you mean `license`?
zebra: 1
^ unknown key `zebra`
  help: the keys here are id, version, name, description, author, license, capabilities, dependencies, conflicts, config, configSchema, defaultConfig, routes, components, apis, database, runtime, permissions, lifecycle, metadata
capabilities: [{ id: a, catagory: b }]
                        ^ unknown key `catagory` in capabilities[0]
                          help: did you mean `category`?
dependencies: [{ id: a, optional: true }]
                        ^ unknown key `optional` in dependencies[0]
                          help: the keys here are id, version, required
routes: [{ path: /a, component: A, permission: [] }]
                                   ^ unknown key `permission` in routes[0]
                                     help: did you mean `permissions`?
apis: [{ path: /b, methods: [GET], method: GET }]
                                   ^ unknown key `method` in apis[0]
                                     help: did you mean `methods`?
components: [{ id: A, kind: page }]
                      ^ unknown key `kind` in components[0]
                        help: the keys here are id, type, file, tag, description
database: { migration: [] }
            ^ unknown key `migration` in database
              help: did you mean `migrations`?
config: { schemas: {}, schema: { a: { type: number, minimum: 1 } } }
          ^ unknown key `schemas` in config
            help: did you mean `schema`?
                                                    ^ unknown key `minimum` in config.schema.a
                                                      help: did you mean `min`?
runtime: { limits: { cpu_time: 1 }, supervision: { perod: 1 }, actors: [{ id: a, mailboxes: 1 }] }
                     ^ unknown key `cpu_time` in runtime.limits
                       help: did you mean `cpuTime`?
                                                   ^ unknown key `perod` in runtime.supervision
                                                     help: did you mean `period`?
                                                                                 ^ unknown key `mailboxes` in runtime.actors[0]
                                                                                   help: did you mean `mailbox`?
permissions:
  systems: {}
  ^ unknown key `systems` in permissions
    help: did you mean `system`?
  system: { databases: [] }
            ^ unknown key `databases` in permissions.system
              help: did you mean `database`?
  application: { api: [] }
                 ^ unknown key `api` in permissions.application
                   help: did you mean `apis`?
  resources: { memory: { maxHeap: 1 }, cpu: { max: 1 }, storage: { min: 1 }, network: { hosts: [] } }
                         ^ unknown key `maxHeap` in permissions.resources.memory
                           help: did you mean `maxHeapSize`?
                                              ^ unknown key `max` in permissions.resources.cpu
                                                help: did you mean `maxCpuUsage`?
                                                                   ^ unknown key `min` in permissions.resources.storage
                                                                     help: the only key here is max
                                                                                        ^ unknown key `hosts` in permissions.resources.network
                                                                                          help: did you mean `allowedHosts`?
lifecycle:
  activate: {}
  ^ unknown key `activate` in lifecycle
    help: the keys here are activation, deactivation, rollback, updates
  activation: { healthcheck: [], trafficShifting: { step: 1 }, rollbackTriggers: [{ type: criticalError, after: alarm }] }
                ^ unknown key `healthcheck` in lifecycle.activation
                  help: did you mean `healthChecks`?
                                                    ^ unknown key `step` in lifecycle.activation.trafficShifting
                                                      help: the keys here are initial, increment, maxIncrement, interval, mirror
                                                                                                         ^ unknown key `after` in lifecycle.activation.rollbackTriggers[0]
                                                                                                           help: did you mean `afterConfirm`?
  deactivation: { drain: 1 }
                  ^ unknown key `drain` in lifecycle.deactivation
                    help: the keys here are strategy, timeout, cleanup
  rollback: { preserve: true }
              ^ unknown key `preserve` in lifecycle.rollback
                help: did you mean `preserveData`?
  updates: { supports: true, migrationPaths: [{ from: "1", to: 2.0.0, over: [] }] }
             ^ unknown key `supports` in lifecycle.updates
               help: did you mean `supported`?
                                                                      ^ unknown key `over` in lifecycle.updates.migrationPaths[0]
                                                                        help: the keys here are from, via, to
"#,
    );
}

#[test]
fn numbers_durations_and_sizes_have_bounds() {
    check(
        r#"runtime:
  workers: 65
           ^ runtime.workers: expected a whole number from 1 to 64, found the number 65
  concurrency: 0
               ^ runtime.concurrency: expected a whole number from 1 to 1024, found the number 0
  limits:
    ticks: 999
           ^ runtime.limits.ticks: expected a whole number from 1000 to 1000000000000, found the number 999
    cpuTime: 0
             ^ runtime.limits.cpuTime: expected a duration from 1ms to 10m, found the number 0
    wallTime: 5 minutes
              ^ runtime.limits.wallTime: expected a duration, found `5 minutes`
                help: write a number of milliseconds, or one such as 100ms, 5s, 2m, 1h
    memory: 512KiB
            ^ runtime.limits.memory: expected a size from 1MiB to 1GiB, found `512KiB`
    queue: 100000
           ^ runtime.limits.queue: expected a whole number from 1 to 65536, found the number 100000
    streams: 0
             ^ runtime.limits.streams: expected a whole number from 1 to 65536, found the number 0
  supervision: { intensity: -1, period: 2h }
                            ^ runtime.supervision.intensity: expected a whole number from 0 to 1000, found the number -1
                                        ^ runtime.supervision.period: expected a duration from 1ms to 1h, found `2h`
  actors: [{ id: 1a }, { id: b, mailbox: 0 }]
                 ^ runtime.actors[0].id: expected the name of an actor, found `1a`
                   help: letters, digits, `_` and `-`, beginning with a letter or underscore
                                         ^ runtime.actors[1].mailbox: expected a whole number from 1 to 65536, found the number 0
lifecycle:
  activation:
    timeout: "5000"
             ^ lifecycle.activation.timeout: expected a duration, found `5000`
               help: write a number of milliseconds, or one such as 100ms, 5s, 2m, 1h
    trafficShifting: { initial: 101, increment: 20, maxIncrement: 10, interval: 1ms }
                                ^ lifecycle.activation.trafficShifting.initial: expected a whole number from 0 to 100, found the number 101
                                                                  ^ lifecycle.activation.trafficShifting.maxIncrement: expected a whole number from 20 to 100, found the number 10
                                                                                ^ lifecycle.activation.trafficShifting.interval: expected a duration from 10ms to 1h, found `1ms`
  rollback: { timeout: 99999999999999999999999999h }
                       ^ lifecycle.rollback.timeout: expected a duration, found `99999999999999999999999999h`
                         help: write a number of milliseconds, or one such as 100ms, 5s, 2m, 1h
permissions:
  resources:
    memory: { maxHeapSize: 2GiB, maxStackSize: 1.5MiB }
                                               ^ permissions.resources.memory.maxStackSize: expected a size, found `1.5MiB`
                                                 help: write a number of bytes, or one such as 100KB, 16MiB, 1GiB
    cpu: { maxCpuUsage: 0, cpuQuotaPeriod: 100s }
                        ^ permissions.resources.cpu.maxCpuUsage: expected a number above 0, at most 64, found the number 0
                                           ^ permissions.resources.cpu.cpuQuotaPeriod: expected a duration from 1ms to 1m, found `100s`
    storage: { max: 18446744073709551616 }
                    ^ permissions.resources.storage.max: expected a size, found the number 18446744073709551616
                      help: write a number of bytes, or one such as 100KB, 16MiB, 1GiB
    network: { allowedPorts: [0, 70000], connectionLimit: 0 }
                              ^ permissions.resources.network.allowedPorts[0]: expected a whole number from 1 to 65535, found the number 0
                                 ^ permissions.resources.network.allowedPorts[1]: expected a whole number from 1 to 65535, found the number 70000
                                                          ^ permissions.resources.network.connectionLimit: expected a whole number from 1 to 1024, found the number 0
"#,
    );
}

#[test]
fn choices_suggest_the_nearest() {
    check(
        r#"runtime:
  supervision: { strategy: one_for_on }
                           ^ runtime.supervision.strategy: expected one of one_for_one, one_for_all, rest_for_one, found `one_for_on`
                             help: did you mean `one_for_one`?
  actors: [{ id: a, restart: allways }]
                             ^ runtime.actors[0].restart: expected one of permanent, transient, temporary, found `allways`
lifecycle:
  activation:
    strategy: Gradual
              ^ lifecycle.activation.strategy: expected one of gradual, instant, found `Gradual`
                help: did you mean `gradual`?
    stickyBy: pricipal
              ^ lifecycle.activation.stickyBy: expected none, principal, address, header:NAME or cookie:NAME, found `pricipal`
                help: did you mean `principal`?
    onInconclusive: wait
                    ^ lifecycle.activation.onInconclusive: expected one of promote, hold, rollback, found `wait`
    rollbackTriggers: [errorRateExceded, { type: 1 }]
                       ^ lifecycle.activation.rollbackTriggers[0]: expected one of healthCheckFailure, errorRateExceeded, responseTimeExceeded, activationTimeout, criticalError, found `errorRateExceded`
                         help: did you mean `errorRateExceeded`?
                                                 ^ lifecycle.activation.rollbackTriggers[1].type: expected one of healthCheckFailure, errorRateExceeded, responseTimeExceeded, activationTimeout, criticalError, found the number 1
  deactivation: { strategy: gracefull, cleanup: [clear-cache] }
                            ^ lifecycle.deactivation.strategy: expected one of graceful, immediate, found `gracefull`
                              help: did you mean `graceful`?
                                                 ^ lifecycle.deactivation.cleanup[0]: expected a name, found `clear-cache`
                                                   help: letters, digits and underscores, not beginning with a digit
  rollback: { notificationChannels: [log, mail, "https://user@x", "ftp://x", https://x.org/hook] }
                                          ^ lifecycle.rollback.notificationChannels[1]: expected log, events, or a webhook's address such as https://example.org/hook, found `mail`
                                                ^ lifecycle.rollback.notificationChannels[2]: expected log, events, or a webhook's address such as https://example.org/hook, found `https://user@x`
                                                                  ^ lifecycle.rollback.notificationChannels[3]: expected log, events, or a webhook's address such as https://example.org/hook, found `ftp://x`
"#,
    );
}

#[test]
fn asked_permissions_have_their_forms() {
    check(
        r#"permissions:
  system:
    database: [{ access: read }, { module: x, access: admin }]
               ^ permissions.system.database[0]: missing `module`
                                                      ^ permissions.system.database[1].access: expected one of read, write, found `admin`
    network:
      - { host: "https://x.org" }
                ^ permissions.system.network[0].host: expected a host such as api.example.org, found `https://x.org`
                  help: a name in lower case, an address, or `*.` before a name; no scheme, port or path
      - { host: "X.org" }
                ^ permissions.system.network[1].host: expected a host such as api.example.org, found `X.org`
                  help: a name in lower case, an address, or `*.` before a name; no scheme, port or path
      - { host: "*" }
                ^ permissions.system.network[2].host: expected a host such as api.example.org, found `*`
                  help: a name in lower case, an address, or `*.` before a name; no scheme, port or path
      - { host: "*.x.org", ports: [443, 443] }
                                        ^ duplicate port `443`: it stands in line 10 already
                                          help: keep one of the two
      - { host: 10.0.0.1, ports: [] }
                                 ^ permissions.system.network[4].ports: no ports
                                   help: name one, or leave `ports` out for 443
      - { host: "::1" }
    environment: [HOME, "A B", 1X]
                        ^ permissions.system.environment[1]: expected a name, found `A B`
                          help: letters, digits and underscores, not beginning with a digit
                               ^ permissions.system.environment[2]: expected a name, found `1X`
                                 help: letters, digits and underscores, not beginning with a digit
  application:
    routes: [x, /x/*, /*, "/x/*/y", "/x/{a}"]
             ^ permissions.application.routes[0]: expected a path, or one with /* at its end, found `x`
                          ^ permissions.application.routes[3]: expected a path, or one with /* at its end, found `/x/*/y`
    components: [1]
                 ^ permissions.application.components[0]: expected the name of a component such as ReportsList, found the number 1
                   help: quote it: "1"
    configurations: [{ module: x }, { module: y, keys: [a b] }]
                     ^ permissions.application.configurations[0]: missing `keys`
                                                        ^ permissions.application.configurations[1].keys[0]: expected the name of a setting, found `a b`
                                                          help: letters, digits, `_`, `-` and `.`, beginning with a letter or underscore
"#,
    );
}

#[test]
fn a_heap_smaller_than_a_vm_is_refused() {
    check(
        r#"runtime: { limits: { memory: 64MiB } }
permissions: { resources: { memory: { maxHeapSize: 32MiB } } }
                                                   ^ permissions.resources.memory.maxHeapSize: 33554432 bytes are less than one VM may use (67108864)
                                                     help: raise it, or lower runtime.limits.memory
"#,
    );
}

#[test]
fn a_stack_smaller_than_the_values_of_a_vm_need_is_refused() {
    check(
        r#"runtime: { limits: { memory: 64MiB } }
permissions: { resources: { memory: { maxStackSize: 128MiB } } }
                                                    ^ permissions.resources.memory.maxStackSize: 128MiB are less than the 144MiB that VMs of 64MiB need
                                                      help: write at least 144MiB, or leave it out, or lower runtime.limits.memory
"#,
    );
    check("permissions: { resources: { memory: { maxStackSize: 80MiB } } }\n");
    check(
        r#"permissions: { resources: { memory: { maxStackSize: 81919KiB } } }
                                                    ^ permissions.resources.memory.maxStackSize: 81919KiB are less than the 80MiB that VMs of 32MiB need
                                                      help: write at least 80MiB, or leave it out, or lower runtime.limits.memory
"#,
    );
}
