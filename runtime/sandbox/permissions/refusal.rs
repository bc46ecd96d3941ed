//! The words of a refusal: what is missing, and what would give it.

use replug_scripts::HostError;

use super::asked::{Asked, CALLER};
use super::compiled::denied;
use super::decisions::{Ruled, Standing};
use super::permission::Permission;
use super::rules::fits;
use crate::manifest::{Access, FILE_NAME};

/// The refusal of a call of `function` by `module`, which needs `permission` and has not got it.
pub(in crate::sandbox) fn refused(function: &str, module: &str, permission: &Permission, ruled: &[Ruled]) -> HostError {
    let Some(it) = narrowest(ruled, permission) else {
        let line = permission.asking();
        let read = reading(permission).and_then(|read| narrowest(ruled, &read));
        let why = match (read, permission) {
            (Some(it), _) => {
                let Asked { permission: whole, line, .. } = &it.asked;
                format!("{} asks for {whole} only{}", place(*line), here(whole, permission))
            }
            (None, Permission::Database { module, .. }) if module == CALLER => {
                "this module does not ask for the databases of its callers".to_owned()
            }
            (None, _) => format!("this module does not ask for {permission}"),
        };
        // whoever depends on it consents
        if matches!(permission, Permission::Database { module, .. } if module == CALLER) {
            return denied(function, &why, &line);
        }
        return HostError::refusal(format!(
            "permission denied: {function}: {why}; `{line}` in {FILE_NAME} would ask for it, and an administrator grants \
             it: replug permissions grant {module}"
        ));
    };
    HostError::refusal(format!(
        "permission denied: {function}: {}; an administrator grants it: replug permissions grant {module} '{}'",
        decided(it, permission),
        it.asked.permission
    ))
}

/// The refusal of a call of `function` by `module` at a path to which neither the apis nor the pages that it has lead. What is at
/// the path is not told, only what the manifest asks for there.
pub(super) fn neither(function: &str, module: &str, path: &str, ruled: &[Ruled]) -> HostError {
    let (api, page) = (Permission::Api(path.to_owned()), Permission::Route(path.to_owned()));
    match (narrowest(ruled, &api), narrowest(ruled, &page)) {
        (Some(of_api), Some(of_page)) => HostError::refusal(format!(
            "permission denied: {function}: {}, and {}; an administrator grants them: replug permissions grant {module} '{}' \
             '{}'",
            decided(of_api, &api),
            decided(of_page, &page),
            of_api.asked.permission,
            of_page.asked.permission
        )),
        (Some(_), None) => refused(function, module, &api, ruled),
        (None, Some(_)) => refused(function, module, &page, ruled),
        (None, None) => HostError::refusal(format!(
            "permission denied: {function}: this module does not ask for {api} nor for {page}; in {FILE_NAME} `{}` would ask for \
             an api there and `{}` for a page, and an administrator grants it: replug permissions grant {module}",
            api.asking(),
            page.asking()
        )),
    }
}

/// Where the manifest asks for what would allow `permission`, and what was decided of that.
fn decided(it: &Ruled, permission: &Permission) -> String {
    let whole = &it.asked.permission;
    let ruling = match it.standing {
        Standing::Narrowed => {
            let given: Vec<_> = it.given.iter().map(ToString::to_string).collect();
            format!("which an administrator narrowed to {}", given.join(" and "))
        }
        Standing::Denied => "which an administrator denied".to_owned(),
        _ => "which no administrator granted yet".to_owned(),
    };
    format!("{} asks for {whole}, {ruling}{}", place(it.asked.line), here(whole, permission))
}

/// Of what covers `permission` the narrowest, which is what was decided of.
fn narrowest<'a>(ruled: &'a [Ruled], permission: &Permission) -> Option<&'a Ruled> {
    let covering = ruled.iter().filter(|it| holds(&it.asked.permission, permission));
    covering.reduce(|found, it| if found.asked.permission.covers(&it.asked.permission) { it } else { found })
}

/// The same to read, where it is to write.
fn reading(permission: &Permission) -> Option<Permission> {
    let mut read = permission.clone();
    match &mut read {
        Permission::Database { access, .. } | Permission::Filesystem { access, .. } if *access == Access::Write => {
            *access = Access::Read;
            Some(read)
        }
        _ => None,
    }
}

/// Which part of `whole` is needed, where it is not all of it.
fn here(whole: &Permission, permission: &Permission) -> String {
    if whole == permission { String::new() } else { format!(" (here {permission})") }
}

/// Whether `asked` is about `permission`; a path with parameters is about the paths that fit it.
fn holds(asked: &Permission, permission: &Permission) -> bool {
    match (asked, permission) {
        (Permission::Route(shape), Permission::Route(path)) | (Permission::Api(shape), Permission::Api(path))
            if shape.contains('{') =>
        {
            fits(shape, path)
        }
        _ => asked.covers(permission),
    }
}

/// `module.manifest.yaml:12`, or without the line where it is not known.
pub(in crate::sandbox) fn place(line: Option<usize>) -> String {
    line.map_or_else(|| FILE_NAME.to_owned(), |line| format!("{FILE_NAME}:{line}"))
}
