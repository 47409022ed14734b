#!/usr/bin/env bash
# Another team's look at a topic with kcat: the whole history, a line per record (partition, offset, key,
# headers, event), then the end. Repeats are not dropped; subscriber.py shows how.
# Where the broker asks for it: KAFKA_USERNAME, KAFKA_PASSWORD, KAFKA_CA. SCRAM with Kafka 4 takes librdkafka
# 2.6.1 or later: LIBRDKAFKA is the path of one, where that of kcat is older (as Debian 12's is).
#
# Usage: subscriber.kcat.sh BOOTSTRAP_SERVERS [TOPIC]
set -euo pipefail

access() { # in a file that only kcat reads: arguments can be seen by everybody
  [[ -n ${KAFKA_USERNAME:-} ]] || return 0
  printf '%s\n' security.protocol=SASL_SSL sasl.mechanism=SCRAM-SHA-512 "ssl.ca.location=${KAFKA_CA:?}" \
    "sasl.username=$KAFKA_USERNAME" "sasl.password=${KAFKA_PASSWORD:?}"
}

exec env LD_PRELOAD="${LIBRDKAFKA:-}" kcat -q -F <(access) -b "${1:?where are the brokers?}" \
  -C -t "${2:-orders}" -o beginning -e -f '%p %o %k %h %s\n'
