//! What stands below the options of a help page: examples, and what one has to know to use them.

pub(super) const TOP: &str = "\
Examples:
  weir check weir.toml                     what the file does, and what is wrong with it
  weir run weir.toml                       serve
  weir upgrade weir.toml                   another process serves, and no request is lost
  weir status                              how the running Weir is
  weir reload                              have it read its configuration again
  weir plugin list                         plugins of the running Weir
  weir plugin push canary canary.wasm      swap one under traffic
  weir endpoint list                       endpoints, their state and why
  weir endpoint drain web 10.0.0.7:8080    let one finish
  weir rollout list                        how far each rollout is, and why
  weir acme list                           certificates of authorities, until when

Exit codes: 0 done, 1 refused or failed, 2 usage or configuration fault";

pub(super) const RUN: &str = "\
Examples:
  weir run --config /etc/weir/weir.toml
  WEIR_LOG=debug weir run                  ./weir.toml, and more of what goes wrong

While it runs:
  kill -HUP PID       read the configuration again; a faulty one changes nothing
  kill -TERM PID      drain: finish what is in flight, then end
  kill -USR2 PID      upgrade: another process takes its place; see `weir upgrade --help`
  WEIR_LOG            info, debug, or by module: info,weir_plugin=debug";

pub(super) const CHECK: &str = "\
Examples:
  weir check weir.toml                     explain it
  weir check -c weir.toml && kill -HUP PID reload only what is valid

Every fault is reported at once, with its line. Exit codes: 0 valid, 2 not";

pub(super) const STATUS: &str = "\
Examples:
  weir status
  weir status web                          of one cluster
  weir status --config /etc/weir/weir.toml the Weir of this configuration
  weir status --admin unix:/run/weir/admin.sock --json | jq .clusters";

pub(super) const RELOAD: &str = "\
Examples:
  weir reload
  weir reload --config /etc/weir/weir.toml
  weir reload --admin 10.0.0.5:9901 --ca ca.pem --token-file deploy.token

A faulty file changes nothing, and its faults are told here. `kill -HUP PID` does the same without the
admin interface, and also opens the access log again. Exit codes: 0 in force, 1 refused";

pub(super) const UPGRADE: &str = "\
Examples:
  weir upgrade --config /etc/weir/weir.toml
  weir upgrade -c weir.toml --binary /opt/weir-2/weir     another program than it was started as
  weir upgrade --socket /run/weir/upgrade.sock            without reading a configuration

The running Weir starts the program with its own configuration file and hands over its sockets. When that
process is ready, it serves, and the former one drains. Otherwise everything stays as it is, and the reason is
told here and in the log.

Needs `upgrade-socket` in `[process]`. `kill -USR2 PID` does the same without it.
Exit codes: 0 the other process serves, 1 it does not, 2 usage or configuration fault";

pub(super) const PLUGIN: &str = "\
Examples:
  weir plugin list
  weir plugin push canary target/canary.wasm
  weir plugin rollback canary
  weir plugin list --admin 10.0.0.5:9901   ask another Weir; or set WEIR_ADMIN";

pub(super) const PUSH: &str = "\
Examples:
  weir plugin push canary canary.wasm
  WEIR_ADMIN=10.0.0.5:9901 weir plugin push canary canary.wasm

The component is compiled and every binding's settings are checked before anything changes. A refused one
leaves the old version deciding. Exchanges under way keep the version they started with.";

pub(super) const LIST: &str = "\
Examples:
  weir plugin list
  weir plugin list --json | jq -r '.plugins[].name'";

pub(super) const ROLLBACK: &str = "\
Examples:
  weir plugin rollback canary                   the version before
  weir plugin rollback canary --to 3f9a21c0     a version that `weir plugin list` shows";

pub(super) const ENDPOINT: &str = "\
Examples:
  weir endpoint list
  weir endpoint add web 10.0.0.7:8080 --weight 2
  weir endpoint drain web 10.0.0.7:8080    no new sessions; watch IN FLIGHT go to 0 in the list
  weir endpoint remove web 10.0.0.7:8080

What is said here holds over reloads and upgrades, until the process ends or the configuration says
something else of the address than it did before. To keep it, write it there.";

pub(super) const ENDPOINT_LIST: &str = "\
Examples:
  weir endpoint list                       of all clusters
  weir endpoint list web
  weir endpoint list web --json | jq -r '.clusters[].endpoints[] | select(.state != \"healthy\") | .address'";

pub(super) const ENDPOINT_ADD: &str = "\
Examples:
  weir endpoint add web 10.0.0.7:8080
  weir endpoint add web 10.0.0.7:8080 --weight 2 --label version=v2 --label rack=b
  weir endpoint add web 10.0.0.9:8080 --backup

One that is there already keeps what is not said. With `slow-start` it grows to its weight.";

pub(super) const ENDPOINT_WEIGHT: &str = "\
Examples:
  weir endpoint weight web 10.0.0.7:8080 5
  weir endpoint weight web 10.0.0.7:8080 0      no new requests, without an order";

pub(super) const ENDPOINT_REMOVE: &str = "\
Examples:
  weir endpoint remove web 10.0.0.7:8080

It keeps its sessions for as long as the cluster's `drain` says, is given no new ones, and is then
forgotten. Exchanges under way are not cut.";

pub(super) const ENDPOINT_DRAIN: &str = "\
Examples:
  weir endpoint drain web 10.0.0.7:8080
  weir endpoint list web                   IN FLIGHT shows when it has finished
  weir endpoint ready web 10.0.0.7:8080    the way back";

pub(super) const ENDPOINT_MAINTENANCE: &str = "\
Examples:
  weir endpoint maintenance web 10.0.0.7:8080
  weir endpoint ready web 10.0.0.7:8080    the way back

Exchanges under way are not cut. `weir endpoint drain` is gentler: sessions stay.";

pub(super) const ENDPOINT_READY: &str = "\
Examples:
  weir endpoint ready web 10.0.0.7:8080

Health checks and the other authorities decide again. After a maintenance, `slow-start` applies.";

pub(super) const ROLLOUT: &str = "\
Examples:
  weir rollout list
  weir rollout pause api                   something else is wrong: stay where we are
  weir rollout rollback api --admin 10.0.0.5:9901

A rollout goes from step to step while the new cluster is not worse than the old one, and back when it is.
ROUTE is the route it is configured on. What you say holds until you say something else, over reloads that
leave the rollout's configuration as it is.";

pub(super) const ROLLOUT_LIST: &str = "\
Examples:
  weir rollout list
  weir rollout list --json | jq '.rollouts[] | select(.phase == \"rolled-back\")'";

pub(super) const ADVANCE: &str = "\
Examples:
  weir rollout advance api                 from 5 % to 25 %, say; from the last step to complete

One that is paused goes on judging from there.";

pub(super) const PAUSE: &str = "\
Examples:
  weir rollout pause api
  weir rollout resume api                  go on later

Nothing is judged meanwhile: it does not go back by itself either.";

pub(super) const RESUME: &str = "\
Examples:
  weir rollout resume api

What was counted during the pause is forgotten.";

pub(super) const ROLL_BACK: &str = "\
Examples:
  weir rollout rollback api
  weir rollout restart api                 another try, from the first step

Also of a rollout that is complete.";

pub(super) const RESTART: &str = "\
Examples:
  weir rollout restart api                 after a rollback, with the fault mended";

pub(super) const CERTIFICATE: &str = "\
Examples:
  weir certificate list
  weir certificate push shop fullchain.pem key.pem";

pub(super) const CERTIFICATE_LIST: &str = "\
Examples:
  weir certificate list
  weir certificate list --json | jq -r '.[].certificates[]? | [.name, .not_after] | @tsv'";

pub(super) const CERTIFICATE_PUSH: &str = "\
Examples:
  weir certificate push shop fullchain.pem key.pem

Connections to come get it, open ones go on. One whose key is another's, and one that has expired, is
refused. It holds over reloads until the process ends or the file of the certificate changes. To keep it,
write it there.";

pub(super) const ACME: &str = "\
Examples:
  weir acme list
  weir acme renew www.example.com          the name leads here now: try again at once";

pub(super) const ACME_LIST: &str = "\
Examples:
  weir acme list
  weir acme list --json | jq '.acme[] | select(.failures > 0)'";

pub(super) const ACME_RENEW: &str = "\
Examples:
  weir acme renew www.example.com

The present certificate is shown until another one is there. Authorities limit how many they issue for a
name. One that has asked to be left alone is.";

pub(super) const COMPILE: &str = "\
Examples:
  weir compile-plugin --memory 2147483648 --cpu 60 < plugin.wasm > plugin.code

Weir starts it for each plugin that is not in the cache, so that one which takes too much to compile harms
nothing else. The code is followed by its SHA-256.";
