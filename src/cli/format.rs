//! Records → text.
