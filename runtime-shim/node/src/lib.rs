//! What nodes need beside the migration protocol: keys and trust, transport, policy.
