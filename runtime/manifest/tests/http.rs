//! Routes, apis, components and the permissions of people.

use super::check;

#[test]
fn paths_have_matchits_syntax() {
    check(
        r#"apis:
  - { path: "api", methods: [GET] }
            ^ apis[0].path: `api`: a path begins with `/`
              help: write `/api`
  - { path: "/a//b", methods: [GET] }
            ^ apis[1].path: `/a//b`: the path has an empty part
              help: remove one of the two `/`
  - { path: "/a/:id", methods: [GET] }
            ^ apis[2].path: `/a/:id`: parameters are written in braces
              help: write `{id}`
  - { path: "/a/*", methods: [GET] }
            ^ apis[3].path: `/a/*`: the rest of a path is written in braces
              help: write `{*rest}`
  - { path: "/a/{}", methods: [GET] }
            ^ apis[4].path: `/a/{}`: a parameter without a proper name
              help: one parameter a part, `{name}` or `{*rest}`, named by letters, digits and underscores
  - { path: "/a/{id", methods: [GET] }
            ^ apis[5].path: `/a/{id`: a parameter does not end with its part
              help: a parameter ends its part of the path, as /a-{name}/b
  - { path: "/a/id}", methods: [GET] }
            ^ apis[6].path: `/a/id}`: a `}` without a `{`
  - { path: "/a/{a}{b}", methods: [GET] }
            ^ apis[7].path: `/a/{a}{b}`: a parameter without a proper name
              help: one parameter a part, `{name}` or `{*rest}`, named by letters, digits and underscores
  - { path: "/a/{*rest}/b", methods: [GET] }
            ^ apis[8].path: `/a/{*rest}/b`: `{*rest}` stands only at a path's end
  - { path: "/a/{a}/{a}", methods: [GET] }
            ^ apis[9].path: `/a/{a}/{a}`: two parameters of one name
              help: rename one `a`
  - { path: "/a/{{a}}", methods: [GET] }
            ^ apis[10].path: `/a/{{a}}`: a parameter without a proper name
              help: one parameter a part, `{name}` or `{*rest}`, named by letters, digits and underscores
  - { path: "/a?b=c", methods: [GET] }
            ^ apis[11].path: `/a?b=c`: a character that is not allowed
              help: `?` cannot stand in a path; the gateway matches paths without query
  - { path: "/a b", methods: [GET] }
            ^ apis[12].path: `/a b`: a character that is not allowed
              help: ` ` cannot stand in a path; the gateway matches paths without query
  - { path: "/a/../b", methods: [GET] }
            ^ apis[13].path: `/a/../b`: a path has no parts `.` or `..`
  - { path: "/ä", methods: [GET] }
            ^ apis[14].path: `/ä`: a character that is not allowed
              help: `ä` cannot stand in a path; the gateway matches paths without query
  - { path: "/__replug/x", methods: [GET] }
            ^ apis[15].path: `/__replug/x`: paths under /__replug belong to the gateway
              help: choose another path
  - { path: "/__replugged", methods: [GET] }
  - { path: "/a-{b}/{c}/{*d}", methods: [GET] }
"#,
    );
}

#[test]
fn paths_that_match_the_same_requests_conflict() {
    check(
        r#"routes:
  - path: /users/{id}
    component: User
apis:
  - path: /users/{name}
          ^ apis[0].path: `/users/{name}` conflicts with `/users/{id}` in line 4
            help: both match the same requests: give their parameters one name, or change a path
    methods: [POST]
  - path: /users/me
    methods: [POST]
  - path: /users/{*rest}
          ^ apis[2].path: `/users/{*rest}` conflicts with `/users/{id}` in line 4
            help: both match the same requests: give their parameters one name, or change a path
    methods: [POST]
"#,
    );
}

#[test]
fn methods_are_known_upper_case_and_present() {
    check(
        r#"apis:
  - { path: /a, methods: [get] }
                          ^ apis[0].methods[0]: expected a method, found `get`
                            help: methods are upper case: GET
  - { path: /b, methods: [] }
                         ^ apis[1].methods: no methods
                           help: name at least one, as ["GET"]
  - { path: /c }
    ^ apis[2]: missing `methods`
  - { path: /d, methods: GET }
                         ^ apis[3].methods: expected a list, found `GET`
  - { path: /e, methods: [PSOT, TRACE, 1] }
                          ^ apis[4].methods[0]: expected one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, found `PSOT`
                            help: did you mean `POST`?
                                ^ apis[4].methods[1]: expected one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, found `TRACE`
                                       ^ apis[4].methods[2]: expected one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, found the number 1
  - { methods: [GET] }
    ^ apis[5]: missing `path`
"#,
    );
}

#[test]
fn permissions_of_people_are_declared() {
    check(
        r#"config:
  permissions: [reports.view, reports.edit]
routes:
  - path: /a
    component: A
    permissions: [reports.veiw]
                  ^ routes[0].permissions[0]: the permission `reports.veiw` is not declared
                    help: did you mean `reports.view`?
apis:
  - path: /b
    methods: [GET]
    permissions: [reports.edit, quite.different, Bad]
                                ^ apis[0].permissions[1]: the permission `quite.different` is not declared
                                  help: add `quite.different` to config.permissions
                                                 ^ apis[0].permissions[2]: expected the name of a permission such as reports.view, found `Bad`
                                                   help: lower-case letters, digits and dashes, in parts joined by dots, at most 128 characters
"#,
    );
}

#[test]
fn a_faulty_declaration_does_not_accuse_its_uses() {
    check(
        r#"config:
  permissions: [Reports.View]
                ^ config.permissions[0]: expected the name of a permission such as reports.view, found `Reports.View`
                  help: lower-case letters, digits and dashes, in parts joined by dots, at most 128 characters
apis:
  - { path: /b, methods: [GET], permissions: [reports.view] }
"#,
    );
}

#[test]
fn components_are_pages_or_elements() {
    check(
        r#"components:
  - { id: A, type: element }
    ^ components[0]: missing `file`
      help: an element is a web component in a file
  - { id: B, type: page, file: b.js }
                               ^ components[1].file: a page has no `file`
                                 help: the script's `pages` draws it; for a web component write `type: element`
  - { id: C, file: c.js, tag: c }
                              ^ components[2].tag: expected the tag of a custom element such as report-list, found `c`
                                help: lower-case letters, digits and dashes, beginning with a letter, with at least one dash
  - { id: D, file: d.js, tag: my-d }
  - { id: E, tag: my-e }
                  ^ components[4].tag: a page has no `tag`
                    help: the script's `pages` draws it; for a web component write `type: element`
  - { id: 1F }
          ^ components[5].id: expected the name of a component such as ReportsList, found `1F`
            help: letters, digits, `_`, `-` and `.`, beginning with a letter
routes:
  - { path: "/a/{b}", component: A, navigation: true }
                                                ^ routes[0].navigation: a path with parameters cannot be listed
                                                  help: leave `navigation` out, or list a page without parameters
  - { path: /b, component: A, navigation: [] }
                                          ^ routes[1].navigation: expected true, false, a label, or a map with `visible`, `label` and `order`, found a list
  - { path: /c, component: A, navigation: { order: 5000 } }
                                                   ^ routes[2].navigation.order: expected a whole number from -1000 to 1000, found the number 5000
"#,
    );
}
