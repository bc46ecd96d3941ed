//! Ratios and what they are to be.

/// A ratio beside its aim, which it is to stay below.
pub(crate) fn beside(ratio: f64, aim: Option<f64>) -> String {
    match aim {
        Some(aim) if ratio <= aim => format!("{ratio:.2}, aim {aim}"),
        Some(aim) => format!("{ratio:.2}, aim {aim} MISSED"),
        None if ratio < 0.1 => format!("{ratio:.4}"),
        None => format!("{ratio:.2}"),
    }
}
