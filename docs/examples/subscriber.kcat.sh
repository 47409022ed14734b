#!/usr/bin/env bash
# Reads a topic as another team would, with kcat: prints the whole history, one line per record (partition,
# offset, key, headers, event), and exits. It does not drop repeats; subscriber.py shows how.
# If the broker requires authentication, set KAFKA_USERNAME, KAFKA_PASSWORD and KAFKA_CA. SCRAM with Kafka 4
# needs librdkafka 2.6.1 or later; if kcat's is older (as on Debian 12), set LIBRDKAFKA to the path of a newer
# one.
#
# Usage: subscriber.kcat.sh BOOTSTRAP_SERVERS [TOPIC]
set -euo pipefail

access() { # passed as a file, because arguments are visible to all users
  [[ -n ${KAFKA_USERNAME:-} ]] || return 0
  printf '%s\n' security.protocol=SASL_SSL sasl.mechanism=SCRAM-SHA-512 "ssl.ca.location=${KAFKA_CA:?}" \
    "sasl.username=$KAFKA_USERNAME" "sasl.password=${KAFKA_PASSWORD:?}"
}

exec env LD_PRELOAD="${LIBRDKAFKA:-}" kcat -q -F <(access) -b "${1:?name the bootstrap servers}" \
  -C -t "${2:-orders}" -o beginning -e -f '%p %o %k %h %s\n'
