#!/usr/bin/env bash
# Makes the demo's certificates: an authority and an X.509-SVID for each of the two workloads, for 30 days. Needs openssl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
rm -rf identity && mkdir -p identity/front identity/back
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
openssl ecparam -name prime256v1 -genkey -noout -out "$dir/ca.key"
openssl req -x509 -new -key "$dir/ca.key" -days 30 -subj /CN=demo -out "$dir/ca.crt" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
for name in front back; do
    openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "identity/$name/tls.key"
    openssl req -new -key "identity/$name/tls.key" -subj / -out "$dir/$name.csr"
    openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 30 \
        -out "identity/$name/tls.crt" -extfile <(printf '%s\n' \
        "subjectAltName=critical,URI:spiffe://demo.pillion/ns/demo/sa/$name" basicConstraints=critical,CA:FALSE \
        keyUsage=critical,digitalSignature extendedKeyUsage=serverAuth,clientAuth) 2>/dev/null
    cp "$dir/ca.crt" "identity/$name/ca.crt"
    # The proxy's user is not the one that ran this. A demo's keys are nobody's secret.
    chmod 0644 "identity/$name/"*
done
