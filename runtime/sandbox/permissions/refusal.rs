//! The words of a refusal: what is missing, and what would give it.

use replug_scripts::HostError;

use super::compiled::denied;
use super::decisions::{Ruled, Standing};
use super::permission::Permission;
use super::rules::fits;
use crate::manifest::FILE_NAME;

/// The refusal of a call of `function` by `module`, which needs `permission` and has not got it.
pub(super) fn refused(function: &str, module: &str, permission: &Permission, ruled: &[Ruled]) -> HostError {
    // of what covers it the narrowest, which is what was decided of
    let covering = ruled.iter().filter(|it| holds(&it.asked.permission, permission));
    let asked =
        covering.reduce(|found, it| if found.asked.permission.covers(&it.asked.permission) { it } else { found });
    let Some(it) = asked else {
        let line = permission.asking();
        if let Permission::Database { module, .. } = permission
            && module == super::CALLER
        {
            return denied(function, "this module does not ask for the databases of its callers", &line);
        }
        let why = format!("this module does not ask for {permission}");
        return HostError::refusal(format!(
            "permission denied: {function}: {why}; `{line}` in {FILE_NAME} would ask for it, and an administrator grants \
             it: replug permissions grant {module}"
        ));
    };
    let whole = &it.asked.permission;
    let at = place(it.asked.line);
    let why = match it.standing {
        Standing::Narrowed => {
            let given: Vec<_> = it.given.iter().map(ToString::to_string).collect();
            format!("{at} asks for {whole}, which an administrator narrowed to {}", given.join(" and "))
        }
        Standing::Denied => format!("{at} asks for {whole}, which an administrator denied"),
        _ => format!("{at} asks for {whole}, which no administrator granted yet"),
    };
    let needed = if whole == permission { String::new() } else { format!(" (here {permission})") };
    HostError::refusal(format!(
        "permission denied: {function}: {why}{needed}; an administrator grants it: replug permissions grant {module} '{whole}'"
    ))
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
pub(super) fn place(line: Option<usize>) -> String {
    line.map_or_else(|| FILE_NAME.to_owned(), |line| format!("{FILE_NAME}:{line}"))
}
