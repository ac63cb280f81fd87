//! What is read again, by whom, and what is let go.
