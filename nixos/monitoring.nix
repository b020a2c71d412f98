# services.fiscalismia-lb.monitoring, for the host that watches load balancers: Prometheus asks them and wakes somebody, Grafana shows
# them.
{ config, lib, ... }:

let
  inherit (lib) mkOption types;
  addresses = import ./addresses.nix { inherit lib; };
  cfg = config.services.fiscalismia-lb.monitoring;
  prometheus = config.services.prometheus;
in
{
  options.services.fiscalismia-lb.monitoring = {
    enable = lib.mkEnableOption "watching load balancers with Prometheus and, where it is enabled, Grafana";
    targets = mkOption {
      type = types.nonEmptyListOf addresses.types.endpoint;
      example = [
        "172.24.1.3:8404"
        "172.24.1.6:8404"
      ];
      description = ''
        `services.fiscalismia-lb.admin.address` of each load balancer. Their `admin.allowFrom` has to name this host.
      '';
    };
    job = mkOption {
      type = types.str;
      default = "fiscalismia-lb";
      example = "haproxy";
      description = "Label `job` of their series. Take the old one, and graphs of HAProxy go on.";
    };
    interval = mkOption {
      type = types.str;
      default = "15s";
      example = "5s";
      description = "Time between two questions.";
    };
    rules = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "Whether Prometheus has the alerts of `grafana/alerts.yml`. Where they go is for its Alertmanager to say.";
    };
    dashboard = mkOption {
      type = types.bool;
      default = config.services.grafana.enable;
      defaultText = lib.literalExpression "config.services.grafana.enable";
      example = false;
      description = "Whether Grafana has `grafana/dashboard.json`, and this Prometheus as a data source.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.prometheus = {
      enable = true;
      scrapeConfigs = [
        {
          job_name = cfg.job;
          scrape_interval = cfg.interval;
          static_configs = [ { inherit (cfg) targets; } ];
        }
      ];
      ruleFiles = lib.optional cfg.rules ../grafana/alerts.yml;
    };

    services.grafana.provision = lib.mkIf cfg.dashboard {
      enable = true;
      datasources.settings.datasources = [
        {
          name = "fiscalismia-lb";
          type = "prometheus";
          url = "http://${
            if prometheus.listenAddress == "0.0.0.0" then "127.0.0.1" else prometheus.listenAddress
          }:${toString prometheus.port}";
        }
      ];
      dashboards.settings.providers = [
        {
          name = "fiscalismia-lb";
          options.path = builtins.path {
            name = "fiscalismia-lb-dashboards";
            path = ../grafana;
            filter = path: _: lib.hasSuffix "dashboard.json" path;
          };
        }
      ];
    };
  };
}
