//! The calendar's instants and those of the rows: the same milliseconds, two types, because the two pure crates do not know
//! each other.

/// As the calendar has it.
pub fn from_row(time: trust::Time) -> calendar::Time {
    calendar::Time::from_millis(time.millis())
}

/// As rows and leaves have it.
pub fn to_row(time: calendar::Time) -> trust::Time {
    trust::Time::from_millis(time.millis())
}

/// What reads all assets rests for a hundred times as long as that takes, and for so long at most: one slow moment of the database is not
/// felt for hours.
pub const LONGEST_REST: calendar::Span = calendar::Span::minutes(30);
