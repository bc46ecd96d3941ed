//! Capabilities, as text for people.

use super::{table, text};
use crate::engine::CapabilityView;

/// One row for each module that offers a capability, then who needs it.
pub(in crate::admin::cli) fn capabilities(views: &[CapabilityView]) -> String {
    if views.is_empty() {
        return "no registered module offers or needs a capability".to_owned();
    }
    let mut rows = table(&["CAPABILITY", "MODULE", "VERSION", "OFFERS", "SERVES", "CALLED"]);
    for view in views {
        for provider in &view.providers {
            let called = match (view.called.as_ref(), view.chosen.as_ref()) {
                (_, Some(chosen)) if *chosen == provider.module => "chosen",
                (Some(called), _) if *called == provider.module => "yes",
                _ => "",
            };
            let serves = if provider.serves { "yes" } else { "no" };
            rows.add_row([&*view.id, &provider.module, &provider.version, &provider.offers, serves, called]);
        }
    }
    let mut shown = text(rows);
    for view in views {
        for consumer in &view.consumers {
            let bound = consumer
                .bound
                .as_ref()
                .map_or("which nothing that serves offers".to_owned(), |it| format!("from {it}"));
            shown = format!("{shown}\n{} needs {} {} {bound}", consumer.module, view.id, consumer.range);
        }
    }
    shown
}

/// What a choice came to.
pub(in crate::admin::cli) fn chosen(view: &CapabilityView) -> String {
    match (&view.chosen, &view.called) {
        (Some(chosen), Some(called)) if chosen == called => format!("{} is called of {chosen}", view.id),
        (Some(chosen), Some(called)) => {
            format!("{} will be called of {chosen} once it serves; until then of {called}", view.id)
        }
        (Some(chosen), None) => format!("{} will be called of {chosen} once it serves", view.id),
        (None, Some(called)) => format!("{} is called of whichever serves: {called}", view.id),
        (None, None) => format!("{} will be called of whichever serves", view.id),
    }
}
