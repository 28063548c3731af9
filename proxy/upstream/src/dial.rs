//! Connections of the control side: one for each question, by the cluster's own protocol and TLS.
