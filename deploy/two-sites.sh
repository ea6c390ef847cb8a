#!/bin/sh
# Two sites on one machine: network namespaces `plant` and `office`, joined by one cable (veth). Plays
# through "Two sites" of deploy/README.md, then pulls the cable and puts it back. As root, with iproute2:
#
#   cargo build --workspace --bins && sudo deploy/two-sites.sh target/debug
set -eu

programs=$(cd "${1:?the folder of the programs, such as target/debug}" && pwd)
PATH=$programs:$PATH
dir=$(mktemp -d)
mark=tm$$ # Of this run: several may run at a time.

plant() { ip netns exec "$mark-plant" "$@"; }
office() { ip netns exec "$mark-office" "$@"; }
say() { echo "== $*"; }
clean() {
    status=$?
    [ "$status" = 0 ] || tail -n 5 "$dir"/*.log
    for site in plant office; do
        ip netns pids "$mark-$site" 2>/dev/null | xargs -r kill -9
        ip netns del "$mark-$site" 2>/dev/null || true
    done
    wait
    rm -rf "$dir"
    exit "$status"
}
trap clean EXIT
trap 'exit 130' INT TERM

# Polls a condition for at most 60 s.
until_true() {
    what=$1
    shift
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -le 300 ] || { echo "not within 60 s: $what" >&2; exit 1; }
        sleep 0.2
    done
}

say "two sites and a cable"
ip netns add "$mark-plant"
ip netns add "$mark-office"
ip link add "$mark-a" type veth peer name "$mark-b"
ip link set "$mark-a" netns "$mark-plant"
ip link set "$mark-b" netns "$mark-office"
plant ip addr add 10.77.0.1/24 dev "$mark-a"
plant ip addr add 10.77.0.2/24 dev "$mark-a"
office ip addr add 10.77.0.3/24 dev "$mark-b"
for site in plant office; do
    $site ip link set lo up
done
plant ip link set "$mark-a" up
office ip link set "$mark-b" up

say "identities, issued once and carried to their hosts"
cd "$dir"
store-node ca init --out ca --cluster plant
for n in 1 2 3; do
    store-node ca issue --ca ca --role node --name "store-$n" --host "10.77.0.$n" --out "identities/store-$n"
done
store-node ca issue --ca ca --role device --name press-7 --write 'plant/**' --out identities/press-7
store-node ca issue --ca ca --role operator --name operator --out identities/operator

say "nodes 1 and 2 at the plant, node 3 at the office"
members=1=10.77.0.1:7400,2=10.77.0.2:7400,3=10.77.0.3:7400
node() { # SITE ID
    "$1" store-node run --id "$2" --data "data-$2" --identity "identities/store-$2" \
        --listen "10.77.0.$2:7400" --http "127.0.0.1:750$2" --bootstrap "$members" \
        --disk-reserve 1MiB >>"node-$2.log" 2>&1 &
}
node plant 1
node plant 2
node office 3

TIDEMARK_TARGET=10.77.0.1,10.77.0.2,10.77.0.3
TIDEMARK_IDENTITY=$dir/identities/operator
export TIDEMARK_TARGET TIDEMARK_IDENTITY
leads() { "$1" query-app status >status.txt 2>/dev/null && grep -q leader status.txt; }
until_true "a leader" leads plant

say "a device at the plant sends for 5 s; the office reads from its own replica"
send() {
    plant sensor-sim --identity identities/press-7 --source plant --devices 2 --rate 20 \
        --spool spool --duration "$1" --json >sent.json 2>>agent.log
}
send 5s
ask() { # SITE NODE: everything, as one replica has it
    "$1" query-app range 'plant/**' --from 1970-01-01 --to 2200-01-01 --format csv --consistency any --node "$2"
}
same() { # What the plant's node 1 has, the office's has as well.
    ask plant 1 >plant.csv 2>/dev/null && ask office 3 >office.csv 2>/dev/null && cmp -s plant.csv office.csv
}
until_true "the same readings at both sites" same
say "$(($(wc -l <office.csv) - 1)) readings at both sites"

say "the cable is pulled"
plant ip link set "$mark-a" down
cp office.csv before.csv
until_true "a leader at the plant" leads plant
send 5s
say "the plant goes on: $(cat sent.json)"
ask office 3 >office.csv
cmp before.csv office.csv
say "the office still answers from its replica, and says how old that is:"
office query-app last 'plant/**/temperature' --consistency any --node 3 2>&1 | tail -n 2
if office query-app last 'plant/**' --consistency linearizable --timeout 3s >refused.txt 2>&1; then
    echo "the office must not promise what it cannot know" >&2
    exit 1
fi
say "and refuses to promise more: $(tail -n 1 refused.txt)"

say "the cable is back"
plant ip link set "$mark-a" up
until_true "the same readings at both sites" same
cmp -s before.csv office.csv && { echo "nothing was added" >&2; exit 1; }
say "$(($(wc -l <office.csv) - 1)) readings at both sites"
