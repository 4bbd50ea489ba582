#!/bin/sh
# Makes the certificates and keys in this directory, which the tests of src/broker use. The keys protect nothing: they
# are public. Valid for 100 years, so that the tests do not end with them. Run it in this directory, then commit all of it.
# Needs openssl 3.0 or later.
set -eu
cd "$(dirname "$0")"
rm -f ./*.pem ./*.p12
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
days=36500

key() { # NAME rsa|ec: PKCS#8
    case $2 in
    rsa) openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1.key.pem" ;;
    ec) openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key.pem" ;;
    esac 2>/dev/null
}

authority() { # NAME
    key "$1" ec
    openssl req -x509 -new -key "$1.key.pem" -subj "/CN=barnabas test authority $1" -days $days \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -out "$1.pem"
}

issue() { # NAME AUTHORITY EXTENSIONS
    openssl req -new -key "$1.key.pem" -subj "/CN=$1" -out "$work/$1.csr"
    printf '%s\n' "$3" >"$work/$1.ext"
    openssl x509 -req -in "$work/$1.csr" -CA "$2.pem" -CAkey "$2.key.pem" -CAserial "$work/serial" -CAcreateserial \
        -days $days -extfile "$work/$1.ext" -out "$1.pem" 2>/dev/null
}

here='subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1
basicConstraints=CA:FALSE
extendedKeyUsage=serverAuth'
client='basicConstraints=CA:FALSE
extendedKeyUsage=clientAuth'

authority ca
authority other-ca
cat ca.pem other-ca.pem >both-cas.pem

key server-rsa rsa
issue server-rsa ca "$here"
key server-ec ec
issue server-ec ca "$here"
key server-elsewhere ec
issue server-elsewhere ca 'subjectAltName=DNS:kafka.example.org,DNS:*.example.net,IP:192.0.2.7'
# A common name, and no alternative one.
key server-common-name ec
issue server-common-name ca 'basicConstraints=CA:FALSE'

# Expired: `openssl x509` of 3.0 cannot date back, `openssl ca` can.
key server-expired ec
openssl req -new -key server-expired.key.pem -subj /CN=server-expired -out "$work/expired.csr"
: >"$work/index"
printf '%s\n' "$here" >"$work/expired.ext"
cat >"$work/ca.conf" <<CONF
[ca]
default_ca = test
[test]
database = $work/index
new_certs_dir = $work
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
CONF
openssl ca -batch -config "$work/ca.conf" -cert ca.pem -keyfile ca.key.pem -in "$work/expired.csr" \
    -startdate 20200101000000Z -enddate 20200102000000Z -extfile "$work/expired.ext" -notext -out server-expired.pem 2>/dev/null

# Signed by itself, as an authority: what `openssl req -x509` makes unless told otherwise.
key server-self-signed ec
openssl req -x509 -new -key server-self-signed.key.pem -subj /CN=localhost -days $days \
    -addext subjectAltName=DNS:localhost -out server-self-signed.pem

# The same, expired.
key server-self-signed-expired ec
openssl req -new -key server-self-signed-expired.key.pem -subj /CN=localhost -out "$work/self-expired.csr"
printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:TRUE\n' >"$work/self-expired.ext"
openssl ca -batch -config "$work/ca.conf" -selfsign -keyfile server-self-signed-expired.key.pem -in "$work/self-expired.csr" \
    -startdate 20200101000000Z -enddate 20200102000000Z -extfile "$work/self-expired.ext" -notext -out server-self-signed-expired.pem 2>/dev/null

# Signed by itself, and no authority: what Java's keytool makes.
key server-self-issued ec
openssl req -x509 -new -key server-self-issued.key.pem -subj /CN=localhost -days $days \
    -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE -out server-self-issued.pem

# X.509 version 1: what `openssl x509 -req` makes without extensions.
key server-v1 ec
openssl req -new -key server-v1.key.pem -subj /CN=localhost -out "$work/v1.csr"
openssl x509 -req -in "$work/v1.csr" -CA ca.pem -CAkey ca.key.pem -CAserial "$work/serial" -days $days -out server-v1.pem 2>/dev/null

key client-rsa rsa
issue client-rsa ca "$client"
openssl rsa -in client-rsa.key.pem -traditional -out client-rsa.pkcs1.key.pem 2>/dev/null
openssl rsa -in client-rsa.key.pem -traditional -aes128 -passout pass:secret -out client-rsa.pkcs1-encrypted.key.pem 2>/dev/null
openssl pkcs8 -topk8 -in client-rsa.key.pem -passout pass:secret -out client-rsa.pkcs8-encrypted.key.pem
key client-ec ec
issue client-ec ca "$client"
openssl ecparam -name prime256v1 -out client-ec.sec1.key.pem # the parameters before the key, as many files have them
openssl ec -in client-ec.key.pem 2>/dev/null >>client-ec.sec1.key.pem
cat client-ec.pem client-ec.key.pem >client-ec.both.pem
openssl pkcs12 -export -in client-ec.pem -inkey client-ec.key.pem -passout pass:secret -out client.p12
key client-stranger ec
issue client-stranger other-ca "$client"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out p521.key.pem 2>/dev/null

rm -f ca.key.pem other-ca.key.pem
