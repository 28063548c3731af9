//! Retries as they are configured: on what, of which requests, how many.

mod retried;
