#!/bin/sh
# `busybox.sh wget|nc UPLOAD URL...`
program=$1 upload=$2
shift 2
sum() { sha1sum | head -c 40; }
wget() { # OPERATION PATH ARGUMENT...
  operation=$1 path=$2
  shift 2
  body=$(mktemp)
  said=$(busybox wget -S -O "$body" "$@" "$url$path" 2>&1)
  echo "$url $operation $(echo "$said" | sed -n 's|^ *HTTP/1.. \([0-9]*\).*|\1|p' | tail -1) $(sum < "$body")"
  rm "$body"
}
for url in "$@"; do
  if [ "$program" = wget ]; then
    wget get /hello
    wget post /echo --post-file "$upload"
    wget big /big
  else
    # Ends its side when its input ends, which is a file: a pipe may be empty at first.
    host=${url#http://}
    request=$(mktemp)
    printf 'GET /hello HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$host" > "$request"
    answer=$(busybox nc -w 30 "$host" 80 < "$request" | tr -d '\r')
    rm "$request"
    echo "$url get $(echo "$answer" | sed -n '1s/^HTTP.... \([0-9]*\).*/\1/p') $(printf '%s' "$answer" | sed '1,/^$/d' | tr -d '\n' | sum)"
  fi
done
