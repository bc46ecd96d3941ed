//! What the shell links to: the pages that are live and that whoever looks may see.

use std::borrow::Cow;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use replug_scripts::Principal;

use crate::actors::router::Snapshot;
use crate::integration::auth;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Lowest first.
    pub(super) order: i32,
    /// What it says.
    pub(super) label: Cow<'a, str>,
    /// Where it leads.
    pub(super) path: &'a str,
}

/// The link to sign in or to one's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account<'a> {
    /// What it says.
    pub(super) label: &'a str,
    /// Where it leads.
    pub(super) path: String,
    /// Whether that is where one is.
    pub(super) current: bool,
}

/// The visible pages by order, then label. The account's page has its own place.
pub(super) fn entries<'a>(snapshot: &'a Snapshot, principal: Option<&Principal>) -> Vec<Entry<'a>> {
    let apart = auth::page(snapshot, "Account");
    let targets = snapshot.slots.values().filter_map(|slot| slot.targets.first());
    let routes = targets.flat_map(|target| &target.instance.manifest.routes);
    let listed = routes.filter(|route| {
        let may = |permission: &String| principal.is_some_and(|principal| principal.may(permission));
        let leads_somewhere = !route.path.contains('{') && apart != Some(&*route.path);
        route.navigation.visible && leads_somewhere && route.permissions.iter().all(may)
    });
    let mut entries: Vec<_> = listed
        .map(|route| Entry {
            order: route.navigation.order,
            label: match route.navigation.label.as_ref().or(route.title.as_ref()) {
                Some(label) => Cow::Borrowed(&**label),
                None => Cow::Owned(words(&route.component)),
            },
            path: &route.path,
        })
        .collect();
    entries.sort_by(|a, b| (a.order, &a.label, a.path).cmp(&(b.order, &b.label, b.path)));
    entries
}

/// The name of a component as people write it: `ReportsList` and `reports_list` read `Reports List` and `reports list`.
fn words(component: &str) -> String {
    let mut text = String::with_capacity(component.len() + 4);
    let mut after_small = false;
    for letter in component.chars() {
        match letter {
            '_' | '-' | '.' => text.push(' '),
            letter => {
                if letter.is_ascii_uppercase() && after_small {
                    text.push(' ');
                }
                text.push(letter);
            }
        }
        after_small = letter.is_ascii_lowercase() || letter.is_ascii_digit();
    }
    text
}

/// The account of whoever is signed in, else the sign-in page with the way back; nothing where nobody can sign in.
pub(super) fn account<'a>(snapshot: &'a Snapshot, principal: Option<&'a Principal>, path: &str) -> Option<Account<'a>> {
    if let Some(principal) = principal {
        let page = auth::page(snapshot, "Account")?;
        return Some(Account { label: &principal.subject, path: page.to_owned(), current: page == path });
    }
    let page = auth::page(snapshot, "Login")?;
    let current = page == path;
    let path =
        if current { page.to_owned() } else { format!("{page}?next={}", utf8_percent_encode(path, NON_ALPHANUMERIC)) };
    Some(Account { label: "Sign in", path, current })
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn the_name_of_a_component_is_read_as_words() {
        let table = [
            ("AnalyticsDashboard", "Analytics Dashboard"),
            ("reports_list", "reports list"),
            ("SQLConsole", "SQLConsole"),
            ("Top10List", "Top10 List"),
            ("x", "x"),
        ];
        for (component, text) in table {
            assert_eq!(words(component), text);
        }
    }
}
