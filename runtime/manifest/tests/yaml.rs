//! What YAML allows and a manifest does not.

use super::{check, check_as_it_is};

#[test]
fn duplicate_keys_name_both_lines() {
    check(
        r#"name: A
runtime:
  workers: 1
  workers: 2
  ^ duplicate key `workers`: it stands in line 5 already
    help: keep one of the two
name: B
^ duplicate key `name`: it stands in line 3 already
  help: keep one of the two
"#,
    );
}

#[test]
fn tags_merge_keys_and_control_characters_are_refused() {
    check(
        r#"name: !!str 5
      ^ a YAML tag: tags are not used in manifests
        help: remove the tag; to make a value a string, quote it
            ^ name: expected a string, found the number 5
              help: quote it: "5"
description: "a\0b"
             ^ a control character (U+0000) in a string
               help: remove it
metadata:
  a: &a { x: 1 }
  b: { <<: *a, y: 2 }
       ^ a YAML merge key: merging is not used in manifests
         help: write the keys out, or give the whole map an alias
  c: !thing [1]
     ^ a YAML tag: tags are not used in manifests
       help: remove the tag; to make a value a string, quote it
  "": 1
  ^ a key without a name
"#,
    );
}

#[test]
fn a_second_document_is_refused() {
    check(
        r#"name: A
---
^ a second YAML document
  help: one file describes one module: remove `---` and what follows
name: B
"#,
    );
}

#[test]
fn a_key_must_be_a_string() {
    check(
        r#"metadata:
  [a, b]: 1
  ^ a key must be a string
"#,
    );
}

#[test]
fn broken_yaml_has_a_place() {
    check(
        r#"name: "A
      ^ not valid YAML: unclosed quote
runtime: {
"#,
    );
}

#[test]
fn a_tab_does_not_indent() {
    check(
        r#"runtime:
	workers: 2
 ^ not valid YAML: tabs disallowed within this context (block indentation)
"#,
    );
}

#[test]
fn an_alias_cannot_stand_inside_itself() {
    check(
        r#"metadata: &m
  a: *m
     ^ an alias inside the value that it stands for
"#,
    );
}

#[test]
fn an_alias_needs_its_anchor() {
    check(
        r#"metadata: *m
          ^ not valid YAML: while parsing node, found unknown anchor
"#,
    );
}

#[test]
fn a_manifest_is_a_map() {
    check_as_it_is(
        r#"- id: m
^ expected a map with `id` and `version`, found a list
"#,
    );
}

#[test]
fn aliases_stand_for_their_values() {
    check(
        r#"routes:
  - path: /a
    component: A
    permissions: &p [p]
                     ^ routes[0].permissions[0]: the permission `p` is not declared
                       help: add `p` to config.permissions
                     ^ routes[1].permissions[0]: the permission `p` is not declared
                       help: add `p` to config.permissions
  - path: /b
    component: A
    permissions: *p
"#,
    );
}

#[test]
fn nothing_is_an_empty_list_or_map_but_no_scalar() {
    check(
        r#"capabilities:
routes: ~
runtime:
lifecycle: null
name:
^ name: expected a string, found nothing
"#,
    );
}
