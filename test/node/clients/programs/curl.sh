#!/bin/bash
# `curl.sh --http1.0|--http1.1|--http2-prior-knowledge UPLOAD URL...`
version=$1 upload=$2
tell() { # OPERATION ARGUMENT...
  local body status
  body=$(mktemp)
  status=$(curl --silent --max-time 30 "$version" --output "$body" --write-out '%{http_code}' "${@:2}")
  [ "$1" != head ] || : > "$body" # else the headers
  echo "$url $1 $status $(sha1sum < "$body" | head -c 40)"
  rm "$body"
}
for url in "${@:3}"; do
  tell get "$url/hello"
  tell head --head "$url/hello"
  tell post -H Expect: --data-binary "@$upload" "$url/echo"
  [ "$version" = --http1.0 ] || tell chunked -H Expect: -H 'Transfer-Encoding: chunked' --data-binary "@$upload" "$url/echo"
  [ "$version" != --http1.1 ] || tell continue -H 'Expect: 100-continue' --data-binary "@$upload" "$url/echo"
  # Debian 12's reads one answer of HTTP/2 on a connection.
  if [ "$version" != --http2-prior-knowledge ]; then
    mapfile -t again < <(yes "$url/hello" | head -20)
    echo "$url kept 200 $(curl --silent --max-time 30 "$version" "${again[@]}" | sha1sum | head -c 40)"
  fi
  tell big "$url/big"
  tell missing "$url/missing"
  tell failing "$url/failing"
done
