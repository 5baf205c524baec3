# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Completion of pasidctl for bash: /usr/share/bash-completion/completions/pasidctl.
#
# Commands and options are read from what the program itself says with --help, so that they are those of the pasidctl that is
# completed. Names of sets and devices are asked of the daemon, for a second at most.

# What --help says that can be completed, a word or two words a line; with a command, the words of its usage.
_pasidctl_commands() {
  "$1" --help 2>/dev/null | sed -n '/^$/d; /^  --/q; s/^  \([a-z][a-z-]*\( [a-z][a-z-]*\)\{0,1\}\)  *[^ ].*/\1/p'
}

_pasidctl_global_options() {
  "$1" --help 2>/dev/null | sed -n 's/^  \(--[a-z-]*\( [A-Z]*\)\{0,1\}\)  *[^ ].*/\1/p'
}

# _pasidctl_usage PROGRAM COMMAND: the line, without the brackets: --set NAME PASID DEVICE...
_pasidctl_usage() {
  # shellcheck disable=SC2086 # a command may be two words
  "$1" $2 --help 2>/dev/null | sed -n "1 { s/^Usage: [^ ]* $2//; s/[][()|]/ /g; s/\.\.\.//g; p; q; }"
}

# _pasidctl_takes OPTION USAGE: the word in capitals that stands for its value, if it has one.
_pasidctl_takes() {
  local words=() i
  # No pattern is made from what somebody types.
  read -r -d '' -a words <<<"$2"
  for ((i = 0; i + 1 < ${#words[@]}; i++)); do
    if [[ ${words[i]} == "$1" && ${words[i + 1]} == [A-Z]* ]]; then
      echo "${words[i + 1]}"
      return
    fi
  done
}

# _pasidctl_names PROGRAM OPTIONS WHAT KEY: of `sets` or `devices`.
_pasidctl_names() {
  local program=$1 options=$2 what=$3 key=$4
  # shellcheck disable=SC2086 # no options, or two words
  timeout 2 "$program" $options --timeout 1 --json "$what" 2>/dev/null </dev/null |
    sed 's/"'"$key"'" *: *"/\n&/g' | sed -n 's/^"'"$key"'" *: *"\([^"\\]*\)".*/\1/p' | sort -u
}

# _pasidctl_values PROGRAM OPTIONS METAVARIABLE: what may stand for a word in capitals.
_pasidctl_values() {
  case $3 in
    SET | NAME) _pasidctl_names "$1" "$2" sets name ;;
    DEVICE | ADDRESS) _pasidctl_names "$1" "$2" devices address ;;
    FUNCTION)
      _pasidctl_names "$1" "$2" devices address
      compgen -G '/sys/bus/pci/devices/*' | sed 's,.*/,,'
      ;;
    FORMAT) printf '%s\n' text openmetrics ;;
    MODE) printf '%s\n' translated identity guest-owned ;;
    SCOPE) printf '%s\n' global rids ;;
    WHEN) printf '%s\n' auto always never ;;
    USER) compgen -u ;;
    FILE | PATH | SOCKET) compgen -f -- "$4" ;;
    FOLDER) compgen -d -- "$4" ;;
  esac
}

# _pasidctl_meaning COMMAND OPTION METAVARIABLE: the same, where it says too little: a function need not be the daemon's yet, and
# no device has the address to listen at.
_pasidctl_meaning() {
  case "$1 $2" in
    'run device' | 'share ') echo "${3/#ADDRESS/FUNCTION}" ;;
    'metrics listen') ;;
    *) echo "$3" ;;
  esac
}

_pasidctl() {
  local line=${COMP_LINE:0:COMP_POINT} words=() current program commands command='' usage='' options='' word meta i j
  read -ra words <<<"$line"
  case $line in
    *[[:space:]]) current='' ;;
    *) current=${words[-1]} && unset 'words[-1]' ;;
  esac
  program=${words[0]/#\~/$HOME}
  commands=$(_pasidctl_commands "$program")
  COMPREPLY=()

  # The words before: which option waits for a value, which words are a command.
  local given=() expects='' known
  known=$(_pasidctl_global_options "$program")
  for ((i = 1; i < ${#words[@]}; i++)); do
    word=${words[i]}
    if [ -n "$expects" ]; then
      [ "$expects" != socket ] || options="--socket $word"
      expects=''
    elif [ "$word" = -- ]; then
      # Somebody else's command line.
      if [ $((i + 1)) -eq ${#words[@]} ]; then
        mapfile -t COMPREPLY < <(compgen -c -- "$current")
      else
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
      fi
      return
    elif [[ $word == --socket=* ]]; then
      options=$word
    elif [[ $word == --* ]]; then
      meta=$(_pasidctl_takes "$word" "$known $usage")
      [ -z "$meta" ] || expects=${word#--}
    else
      given+=("$word")
      if [ -z "$command" ]; then
        for ((j = ${#given[@]}; j > 0; j--)); do
          if grep -qxF -- "${given[*]:0:j}" <<<"$commands"; then
            command=${given[*]:0:j}
            usage=$(_pasidctl_usage "$program" "$command")
            break
          fi
        done
      fi
    fi
  done

  local candidates prefix=''
  if [ -n "$expects" ]; then
    meta=$(_pasidctl_meaning "$command" "$expects" "$meta")
    candidates=$(_pasidctl_values "$program" "$options" "$meta" "$current")
  elif [[ $current == --*=* ]]; then
    prefix=${current%%=*}=
    expects=${prefix%=} expects=${expects#--}
    meta=$(_pasidctl_meaning "$command" "$expects" "$(_pasidctl_takes "${prefix%=}" "$known $usage")")
    candidates=$(_pasidctl_values "$program" "$options" "$meta" "${current#*=}")
    current=${current#*=}
  elif [[ $current == -* ]]; then
    candidates=$(grep -o -- '--[a-z-]*' <<<"$known $usage")
  elif [ -z "$command" ]; then
    # The first words of all commands, or the second ones of those that begin so.
    if [ ${#given[@]} -eq 0 ]; then
      candidates=$(cut -d ' ' -f 1 <<<"$commands")
    else
      candidates=$(while read -r word; do
        [[ $word != "${given[0]} "* ]] || echo "${word#* }"
      done <<<"$commands")
    fi
  else
    candidates=$(_pasidctl_words "$program" "$options" "$command" "$usage" "$current")
  fi
  # bash replaces what follows the last of the characters that break words; addresses have such.
  local cut=$prefix$current
  if [[ $cut == *[$COMP_WORDBREAKS]* ]]; then
    cut=${cut%"${cut##*["$COMP_WORDBREAKS"]}"}
  else
    cut=''
  fi
  # Not with compgen -W: that would expand them, and names are those of other people's sets.
  while IFS= read -r word; do
    [ -n "$word" ] || continue
    word=$prefix$(printf '%q' "$word")
    [[ $word != "$prefix$current"* ]] || COMPREPLY+=("${word#"$cut"}")
  done < <(sort -u <<<"$candidates")
}

# _pasidctl_words PROGRAM OPTIONS COMMAND USAGE CURRENT: words that are no options.
_pasidctl_words() {
  local meta
  # A set that is made has a name that none has.
  [ "$3" != 'set create' ] || return 0
  sed 's/--[a-z-]* [A-Z][A-Z]*//g; s/ -- .*//; s/[^A-Z]/\n/g' <<<"$4" | while read -r meta; do
    _pasidctl_values "$1" "$2" "$(_pasidctl_meaning "$3" '' "$meta")" "$5"
  done
}

complete -o bashdefault -F _pasidctl pasidctl
