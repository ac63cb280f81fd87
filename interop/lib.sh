# Starting Mizan's processes on ports of their own, and ending them; sourced. MIZAN is the binary.

work=$(mktemp -d)
children=()

ended() {
  for child in "${children[@]}"; do
    { kill -9 "$child" && wait "$child"; } 2>/dev/null || true
  done
  rm -rf "$work"
}
trap ended EXIT

# until SECONDS COMMAND...: again and again until it succeeds.
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    if ((SECONDS > end)); then
      echo "never: $*" >&2
      return 1
    fi
    sleep 0.1
  done
}

# start NAME ARGS...: starts `mizan ARGS`; its address is then in `address`, its process in `child`.
start() {
  local log="$work/$1.log"
  shift
  "$MIZAN" "$@" --log-format json 2>"$log" &
  child=$!
  children+=("$child")
  until_true 30 grep -q '"serving"' "$log" || { cat "$log" >&2; return 1; }
  address=$(sed -n 's/.*"serving".*"address":"\([^"]*\)".*/\1/p;s/.*"address":"\([^"]*\)".*"serving".*/\1/p' "$log" | tail -n 1)
}
