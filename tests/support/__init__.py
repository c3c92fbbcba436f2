"""What tests share: a cluster to test against, a server to call, clients to call it with."""
