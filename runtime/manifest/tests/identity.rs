//! Who a module is, what it offers and needs.

use super::{check, check_as_it_is};

#[test]
fn missing_id_and_version_are_both_named() {
    check_as_it_is(
        r#"name: X
^ missing `id`
^ missing `version`
"#,
    );
}

#[test]
fn every_fault_of_a_file_is_reported_at_once() {
    check(
        r#"id: m
version: 1.10
         ^ version: expected a version such as 1.2.0, found the number 1.10
           help: quote it, or YAML takes it for a number: "1.10.0"
nam: Something
^ unknown key `nam`
  help: did you mean `name`?
runtime:
  worker: 2
  ^ unknown key `worker` in runtime
    help: did you mean `workers`?
  workers: 0
           ^ runtime.workers: expected a whole number from 1 to 64, found the number 0
  limits: { memory: 3 apples }
                    ^ runtime.limits.memory: expected a size, found `3 apples`
                      help: write a number of bytes, or one such as 100KB, 16MiB, 1GiB
routes:
  - path: dashboard
          ^ routes[0].path: `dashboard`: a path begins with `/`
            help: write `/dashboard`
    component: Dashboard
apis:
  - path: /api/x
    methods: [FETCH]
              ^ apis[0].methods[0]: expected one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, found `FETCH`
"#,
    );
}

#[test]
fn ids_have_their_alphabet() {
    check_as_it_is(
        r#"id: Bad_Id
    ^ id: expected an id such as analytics-advanced, found `Bad_Id`
      help: lower-case letters, digits and dashes, in parts joined by dots, at most 128 characters
version: 1.0.0
capabilities:
  - id: a..b
        ^ capabilities[0].id: expected an id such as analytics-advanced, found `a..b`
          help: lower-case letters, digits and dashes, in parts joined by dots, at most 128 characters
  - id: a_b
        ^ capabilities[1].id: expected an id such as analytics-advanced, found `a_b`
          help: lower-case letters, digits and dashes, in parts joined by dots, at most 128 characters
  - id: ünï
        ^ capabilities[2].id: expected an id such as analytics-advanced, found `ünï`
          help: lower-case letters, digits and dashes, in parts joined by dots, at most 128 characters
dependencies:
  - id: ../etc
        ^ dependencies[0].id: expected an id such as analytics-advanced, found `../etc`
          help: lower-case letters, digits and dashes, in parts joined by dots, at most 128 characters
"#,
    );
}

#[test]
fn versions_and_ranges() {
    check(
        r#"capabilities:
  - id: a
    version: 1.10
             ^ capabilities[0].version: expected a version such as 1.2.0, found the number 1.10
               help: quote it, or YAML takes it for a number: "1.10.0"
  - id: b
    version: 2
             ^ capabilities[1].version: expected a version such as 1.2.0, found the number 2
               help: quote it, or YAML takes it for a number: "2.0.0"
  - id: c
    version: "1.5"
             ^ capabilities[2].version: expected a version, found `1.5`
               help: versions have three numbers, as 1.2.0: unexpected end of input while parsing minor version number
  - id: d
    version: v1.0.0
             ^ capabilities[3].version: expected a version, found `v1.0.0`
               help: versions have three numbers, as 1.2.0: unexpected character 'v' while parsing major version number
dependencies:
  - id: e
    version: 1.5
             ^ dependencies[0].version: expected a range of versions such as ">=1.0.0", found the number 1.5
               help: quote it, or YAML takes it for a number: "1.5"
  - id: f
    version: "1.5"
  - id: g
    version: ">= 1.0.0, <2"
  - id: h
    version: "*"
  - id: i
    version: newest
             ^ dependencies[4].version: expected a range of versions, found `newest`
               help: write a range such as ">=1.0.0", "^1", ">=1, <3" or "*": unexpected character 'n' while parsing major version number
  - id: j
    version: [1]
             ^ dependencies[5].version: expected a range of versions such as ">=1.0.0", found a list
"#,
    );
}

#[test]
fn wrong_types_say_what_was_expected_and_what_was_found() {
    check(
        r#"name: 7
      ^ name: expected a string, found the number 7
        help: quote it: "7"
description: [a]
             ^ description: expected a string, found a list
author: true
        ^ author: expected a string, found true
          help: quote it: "true"
capabilities: {}
              ^ capabilities: expected a list, found a map
dependencies: database
              ^ dependencies: expected a list, found `database`
apis:
  - /api/x
    ^ apis[0]: expected a map, found `/api/x`
runtime:
  entry: {}
         ^ runtime.entry: expected the path of a file of the module, found a map
  workers: two
           ^ runtime.workers: expected a whole number from 1 to 64, found `two`
  limits: []
          ^ runtime.limits: expected a map, found a list
  supervision: { intensity: 1.5 }
                            ^ runtime.supervision.intensity: expected a whole number from 0 to 1000, found the number 1.5
lifecycle:
  rollback: { preserveData: yes }
                            ^ lifecycle.rollback.preserveData: expected true or false, found `yes`
                              help: write true, without quotes
"#,
    );
}

#[test]
fn duplicates_name_the_first_line() {
    check(
        r#"capabilities: [{ id: a }, { id: a }]
                                ^ duplicate capability `a`: it stands in line 3 already
                                  help: keep one of the two
dependencies:
  - id: x
  - id: x
        ^ duplicate dependency `x`: it stands in line 5 already
          help: keep one of the two
conflicts: [y, y]
               ^ duplicate conflict `y`: it stands in line 7 already
                 help: keep one of the two
components: [{ id: C }, { id: C }]
                              ^ duplicate component `C`: it stands in line 8 already
                                help: keep one of the two
routes:
  - path: /a
    component: C
  - path: /a
          ^ routes[1].path: `GET /a` stands in line 10 already
            help: a page answers GET and HEAD; give each path and method once
    component: C
apis:
  - path: /b
    methods: [GET, GET]
                   ^ duplicate method `GET`: it stands in line 16 already
                     help: keep one of the two
  - path: /b
    methods: [POST]
  - path: /b
          ^ apis[2].path: `POST /b` stands in line 17 already
            help: a page answers GET and HEAD; give each path and method once
    methods: [POST, PUT]
  - path: /a
          ^ apis[3].path: `GET /a` stands in line 10 already
            help: a page answers GET and HEAD; give each path and method once
    methods: [GET]
  - path: /a
    methods: [POST]
config:
  permissions: [p, p]
                   ^ duplicate permission `p`: it stands in line 26 already
                     help: keep one of the two
runtime:
  actors: [{ id: a }, { id: a }]
                            ^ duplicate actor `a`: it stands in line 28 already
                              help: keep one of the two
database:
  migrations:
    - { version: 1.0.0, file: a.sql }
    - { version: 2.0.0, file: a.sql }
                              ^ duplicate migration file `a.sql`: it stands in line 31 already
                                help: keep one of the two
lifecycle:
  activation:
    healthChecks:
      - endpoint: /health
      - endpoint: /health
        ^ duplicate health check `/health`: it stands in line 36 already
          help: keep one of the two
      - id: /health
        ^ duplicate health check `/health`: it stands in line 36 already
          help: keep one of the two
        custom: other
    rollbackTriggers: [criticalError, criticalError]
                                      ^ duplicate rollback trigger `criticalError`: it stands in line 40 already
                                        help: keep one of the two
  deactivation: { cleanup: [clearCache, clearCache] }
                                        ^ duplicate cleanup `clearCache`: it stands in line 41 already
                                          help: keep one of the two
"#,
    );
}

#[test]
fn dependencies_and_conflicts_must_make_sense() {
    check(
        r#"dependencies: [{ id: m }, { id: a }, { version: "1" }]
                     ^ dependencies[0].id: the module depends on itself
                       help: remove this dependency
                                     ^ dependencies[2]: missing `id`
conflicts:
  - m
    ^ conflicts[0]: the module conflicts with itself
      help: two versions of a module never serve as one: remove this conflict
  - a@<1
    ^ conflicts[1]: `a` is a conflict here and a dependency in line 3
      help: keep one of the two; a dependency's `version` already excludes what it does not name
  - b@>=1, <2
  - b@3
  - c@
    ^ conflicts[4]: the range in `c@` is not one
      help: write a range such as `c@>=1.0.0` or `c@<2`: it is empty or too long
  - c@latest
    ^ conflicts[5]: the range in `c@latest` is not one
      help: write a range such as `c@>=1.0.0` or `c@<2`: unexpected character 'l' while parsing major version number
  - C
    ^ conflicts[6]: expected a module, as ID or ID@RANGE, found `C`
      help: an id has lower-case letters, digits and dashes, in parts joined by dots
  - 5
    ^ conflicts[7]: expected a module, as ID or ID@RANGE, found the number 5
      help: quote it: "5"
"#,
    );
}

#[test]
fn a_capabilitys_parts_are_checked() {
    check(
        r#"capabilities:
  - id: a
    category: Data Stuff
              ^ capabilities[0].category: expected an id such as analytics-advanced, found `Data Stuff`
                help: lower-case letters, digits and dashes, in parts joined by dots, at most 128 characters
    requirements: [b, "c@>=1", "d@x", { capability: b }, { version: "1" }]
                                                    ^ duplicate requirement `b`: it stands in line 6 already
                                                      help: keep one of the two
                                                         ^ capabilities[0].requirements[4]: missing `capability`
    interfaces:
      - sql
      - sql
        ^ duplicate interface `sql`: it stands in line 8 already
          help: keep one of the two
      - { name: q, methods: [a, a, b-c] }
                                ^ duplicate method `a`: it stands in line 10 already
                                  help: keep one of the two
                                   ^ capabilities[0].interfaces[2].methods[2]: expected a name, found `b-c`
                                     help: letters, digits and underscores, not beginning with a digit
      - 1
        ^ capabilities[0].interfaces[3]: expected a name, found the number 1
          help: quote it: "1"
"#,
    );
}

#[test]
fn metadata_is_a_map() {
    check(
        r#"metadata: [1]
          ^ metadata: expected a map, found a list
"#,
    );
}
