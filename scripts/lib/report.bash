# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Runs the parts of a test run: one line each with its time and count, the log of what failed, and the sum.
# The caller sets LOGS, the folder for the logs.

REPORT_PASSED=0 REPORT_FAILED=0 REPORT_SKIPPED=0
REPORT_NAMES=() # what failed, said again at the end: the start of a long output is often cut off
REPORT_NAMES_MAX=20

# report_part KIND TITLE COMMAND...: KIND is "tests" (writes "passed failed skipped" to $REPORT_COUNTS) or "check"
# (its exit status is the one result). Lines "SKIP: why" of its output are repeated aloud.
report_part() {
  local kind=$1 title=$2 log started seconds status=0 passed=0 failed=0 skipped=0
  shift 2
  log=$LOGS/${title//[^a-zA-Z0-9]/-}.log
  export REPORT_COUNTS=$log.counts
  rm -f "$REPORT_COUNTS"
  [ ! -t 1 ] || printf '  ...            %s\r' "$title"

  started=$EPOCHREALTIME
  "$@" >"$log" 2>&1 </dev/null || status=$?
  seconds=$(awk -v a="$started" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')

  if [ "$kind" = tests ]; then
    [ ! -e "$REPORT_COUNTS" ] || read -r passed failed skipped <"$REPORT_COUNTS"
    if [ "$status" -eq 0 ] && [ $((passed + failed + skipped)) -eq 0 ]; then
      echo "no test ran" >>"$log"
      failed=1
    elif [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
      failed=1
    fi
  elif [ "$status" -eq 0 ]; then
    passed=1
  else
    failed=1
  fi
  report_line "$kind" "$title" "$seconds" "$passed" "$failed" "$skipped" "$log"
}

# report_names LOG: the failed tests that a log of unittest or of run-unit names, each with what was wrong: of a traceback,
# or of one in another's message, the last exception.
report_names() {
  awk -v most="$REPORT_NAMES_MAX" '
    function say(line) { if (++said <= most) print "                   " substr(line, 1, 200) }
    function conclude() { if (name != "") { say(name); if (why != "") say("  " why) } name = why = "" }
    /^FAILED: / { say($0) }
    /^======/ { conclude(); header = 1; next }
    header && /^(FAIL|ERROR): / { name = $0; rules = header = 0; next }
    { header = 0 }
    /^------/ { if (++rules > 1) conclude(); next }
    name != "" && /^([a-z_0-9]+[.])*[A-Z][A-Za-z]*(: .*)?$/ { why = $0 }
    END { conclude() }
  ' "$1"
}

report_line() {
  local kind=$1 title=$2 seconds=$3 passed=$4 failed=$5 skipped=$6 log=$7 mark=ok names count=
  [ "$failed" -eq 0 ] || mark=FAILED
  if [ "$kind" = tests ]; then
    count=": $passed passed, $failed failed"
    [ "$skipped" -eq 0 ] || count+=", $skipped skipped"
  fi
  printf '%-6s %7s s  %s%s\n' "$mark" "$seconds" "$title" "$count"
  grep -h '^SKIP:' "$log" | sed 's/^/                   /' || :
  if [ "$failed" -gt 0 ]; then
    names=$(report_names "$log")
    [ -z "$names" ] || printf '%s\n' "$names"
    REPORT_NAMES+=("FAILED $title${names:+$'\n'$names}")
    printf -- '---- %s\n' "$log"
    tail -n 100 "$log"
    printf -- '----\n'
  fi
  REPORT_PASSED=$((REPORT_PASSED + passed))
  REPORT_FAILED=$((REPORT_FAILED + failed))
  REPORT_SKIPPED=$((REPORT_SKIPPED + skipped))
}

# report_skip TITLE WHY: a part that cannot run here.
report_skip() {
  printf '%-6s %7s    %s: %s\n' SKIP '' "$1" "$2"
  REPORT_SKIPPED=$((REPORT_SKIPPED + 1))
}

# report_end: what failed, and the sum; its status is that of the run.
report_end() {
  [ "$REPORT_SKIPPED" -eq 0 ] || echo "$REPORT_SKIPPED skipped"
  [ ${#REPORT_NAMES[@]} -eq 0 ] || printf '%s\n' "${REPORT_NAMES[@]}"
  echo "$REPORT_PASSED passed, $REPORT_FAILED failed"
  [ "$REPORT_FAILED" -eq 0 ] && [ "$REPORT_PASSED" -gt 0 ]
}
