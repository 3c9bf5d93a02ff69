# lictor on every client of a Nomad cluster, in front of the Consul agent there.
job "lictor" {
  type = "system"

  update {
    max_parallel = 1
    stagger      = "30s"
  }

  group "lictor" {
    network {
      mode = "host"
      port "gateway" {
        static = 8000
      }
      port "admin" {
        static = 8001
      }
    }

    ephemeral_disk {
      sticky = true # the last good policy and services outlive an allocation
    }

    task "lictor" {
      driver       = "docker"
      kill_signal  = "SIGTERM"
      kill_timeout = "60s" # longer than drain

      config {
        image        = "lictor:latest"
        network_mode = "host"
        args         = ["run", "-config", "/local/lictor.hcl"]
      }

      # The tokens, which must be there before the job starts:
      # nomad var put nomad/jobs/lictor admin_token=... consul_token=...
      template {
        destination = "secrets/lictor.env"
        env         = true
        data        = <<-EOT
          {{- with nomadVar "nomad/jobs/lictor" }}
          LICTOR_ADMIN_TOKEN={{ .admin_token }}
          CONSUL_HTTP_TOKEN={{ .consul_token }}
          {{- end }}
        EOT
      }

      template {
        destination   = "local/lictor.hcl"
        change_mode   = "signal"
        change_signal = "SIGHUP"
        data          = <<-EOT
          data_dir = "/alloc/data/lictor"
          gateway {
            address = ":8000"
          }
          admin {
            # Where the check of Nomad reaches it, which is not loopback: so there must be a token.
            address = "$${env("NOMAD_IP_admin", "127.0.0.1")}:8001"
            token   = env("LICTOR_ADMIN_TOKEN")
          }
          consul {
          }
          resolver "consul" {
          }
        EOT
      }

      resources {
        cpu    = 1000
        memory = 256
      }
    }

    service {
      name     = "lictor-gateway"
      port     = "gateway"
      provider = "consul"
      check {
        type     = "http"
        port     = "admin"
        path     = "/readyz"
        interval = "5s"
        timeout  = "2s"
      }
    }
  }
}
