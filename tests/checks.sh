# What scripts that are driven by variables say of bad ones, before anything is built. To be sourced, with `me` as the script's name.
refuse() {
  echo "$me: ${1//$'\n'/ }" >&2
  exit 2
}
# A whole number from $2 to $3, if the variable $1 is set. Longer ones than bash can count are compared as text.
whole() {
  [[ -n ${!1+set} ]] || return 0
  local LC_ALL=C allowed="a whole number from $2 to $3 is allowed" digits least most
  [[ ${!1} =~ ^[0-9]+$ ]] || refuse "$1=${!1}: $allowed"
  digits=$(printf '%s' "${!1}" | sed 's/^0*//')
  printf -v digits '%20s' "${digits:-0}"
  printf -v least '%20s' "$2"
  printf -v most '%20s' "$3"
  if ((${#digits} > 20)) || [[ $digits > $most || $digits < $least ]]; then refuse "$1=${!1}: $allowed"; fi
}
