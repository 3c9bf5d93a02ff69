# What Consul's ACLs must let lictor do, and no more. As it stands it is for a
# gateway alone:
#
#   consul acl policy create -name lictor -rules @consul-policy.hcl
#
# For what else lictor is to do take the # off the lines below "with ...", and off
# the file the line about the same resource above. A token that asks other
# datacenters must not be local to one.

# Which services there are, where they listen, and whether they pass.
service_prefix "" { policy = "read" }
node_prefix "" { policy = "read" }

# lictor itself, so that rate limits are divided among all lictors.
service "lictor" { policy = "write" }

# The policy. Where enable_key_list_policy is on: "list".
key_prefix "lictor/policy/" { policy = "read" }

# with the admin API, which writes the policy:
#key_prefix "lictor/policy/" { policy = "write" }

# with the egress: nothing more.

# with the mesh: nothing more. lictor's certificate, and the intentions that speak
# of it, come with service "lictor".

# with tls { acme { storage = "consul" } }: certificates, which are sealed, and the
# locks under which one of the lictors orders them.
#key_prefix "lictor/acme/" { policy = "write" }
#session_prefix "" { policy = "write" }

# with a peer, to know whether it is connected:
#peering = "read"
