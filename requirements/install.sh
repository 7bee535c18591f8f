#!/bin/sh
# Install the packages of a lock file and say how far it is: PYTHON=.venv/bin/python sh requirements/install.sh FILE.
# pip's errors are shown in full; its warnings (the user root, places that it leaves alone) are not.
set -u
lock=$1
total=$(grep -c '^[A-Za-z0-9._-]*\(\[[^]]*\]\)\?==' "$lock")
report=$(mktemp)
trap 'rm -f "$report"' EXIT

# one line per package: rewritten in a terminal, every tenth one in a log
show_progress() {
    count=0
    while IFS= read -r line; do
        printf '%s\n' "$line" >>"$report"
        case $line in
        Collecting\ * | Requirement\ already\ satisfied:\ *)
            count=$((count + 1))
            rest=${line#Collecting }
            rest=${rest#Requirement already satisfied: }
            name=${rest%% *}
            if [ -t 1 ]; then
                printf '\r\033[K  %d of %d: %s' "$count" "$total" "${name%%==*}"
            elif [ $((count % 10)) = 1 ]; then
                printf '  %d of %d: %s\n' "$count" "$total" "${name%%==*}"
            fi
            ;;
        Installing\ collected\ packages:*)
            if [ -t 1 ]; then printf '\r\033[K'; fi
            printf '  unpacking %d packages\n' "$count"
            ;;
        esac
    done
}

status=$(mktemp)
trap 'rm -f "$report" "$status"' EXIT
{
    "$PYTHON" -W ignore -m pip --disable-pip-version-check --no-color install --no-input \
        --root-user-action=ignore --progress-bar off --require-hashes --requirement "$lock" 2>&1
    echo $? >"$status"
} | show_progress
if [ "$(cat "$status")" != 0 ]; then
    if [ -t 1 ]; then printf '\r\033[K'; fi
    echo "The packages of $lock were not installed. What pip says:" >&2
    grep -v -e '^Collecting ' -e '^Requirement already satisfied' -e '^  Downloading ' -e '^  Using cached ' \
        -e '^WARNING: ' "$report" | tail -n 40 >&2
    exit 1
fi
