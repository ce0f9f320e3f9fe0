#!/usr/bin/env bash
# Installs what the tests need beside Rust: PostgreSQL, Chromium, Apache Kafka, strace, and the foreign clients in their pinned
# versions. Run again, it finds everything in place and does nothing. What it downloads is kept in ~/.cache/deputy, by the content of
# the lists.
set -euo pipefail
cd "$(dirname "$0")/clients"
cache="${DEPUTY_CACHE:-$HOME/.cache/deputy}"

fail() {
    echo "tests/setup.sh: $1" >&2
    exit 1
}

# Kafka 4 needs Java 17 or newer.
has_java() { java -version 2>&1 | grep -qE 'version "(1[7-9]|[2-9][0-9])'; }

# Debian's packages, those that are missing.
packages() {
    local missing=()
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
    command -v chromium >/dev/null || missing+=(chromium)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    has_java || missing+=(default-jre-headless)
    command -v mvn >/dev/null || missing+=(maven)
    command -v strace >/dev/null || missing+=(strace)
    if [ ${#missing[@]} -eq 0 ]; then return; fi

    command -v apt-get >/dev/null || fail "install ${missing[*]}: without apt-get it cannot be done from here"
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get)
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "run as root: apt-get install ${missing[*]}"
        install=(sudo "${install[@]}")
    fi
    echo "Installing ${missing[*]}"
    local log
    log="$(mktemp)"
    # Package lists may be absent or old; they are only fetched when what is known does not do.
    if ! "${install[@]}" install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
        if ! { "${install[@]}" update && "${install[@]}" install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
            tail -n 20 "$log" >&2
            fail "apt-get could not install ${missing[*]}"
        fi
    fi
    rm -f "$log"
}

# Whether the folder $1 was filled completely.
is_complete() { [ -e "$1/.complete" ]; }

# Names a folder of the cache by what goes into it: $1-<hash of the files that follow>.
folder() {
    local kind="$1"
    shift
    echo "$cache/$kind-$(cat "$@" | sha256sum | cut -c1-16)"
}

# Makes $2 mean the folder $1, in place of what was installed there by hand.
link() {
    if [ -d "$2" ] && [ ! -L "$2" ]; then rm -rf "$2"; fi
    ln -sfn "$1" "$2"
}

# The clients written in JavaScript: tests/clients/node_modules.
javascript() {
    command -v npm >/dev/null && node --version | grep -qE '^v(2[0-9]|[3-9][0-9])\.' ||
        fail 'Node.js 20 or newer with npm is missing: install it as https://nodejs.org says'
    local folder
    folder="$(folder javascript package-lock.json)"
    if ! is_complete "$folder"; then
        echo 'Installing the clients written in JavaScript'
        rm -rf "$folder"
        mkdir -p "$folder"
        cp package.json package-lock.json "$folder"
        if [ -e .npmrc ]; then cp .npmrc "$folder"; fi
        npm ci --prefix "$folder" --no-audit --no-fund --loglevel=error
        touch "$folder/.complete"
    fi
    link "$folder/node_modules" node_modules
}

# The clients written in Python, and the tools of .ci: tests/clients/.venv. Every package is in the lists, so none is looked for.
python() {
    local folder lists=(requirements.txt ../../.ci/requirements.txt)
    folder="$(folder python "${lists[@]}" <(python3 --version))"
    if ! is_complete "$folder"; then
        echo 'Installing the clients written in Python'
        rm -rf "$folder"
        python3 -m venv "$folder"
        "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps "${lists[@]/#/--requirement=}"
        local unmet
        unmet="$("$folder/bin/pip" check)" || fail "tests/clients/requirements.txt does not name all that is needed: $unmet"
        touch "$folder/.complete"
    fi
    link "$folder" .venv
}

# The client written in Rust: tests/clients/.rust. A program of its own, built once.
rust() {
    command -v cargo >/dev/null || fail 'Rust is missing: install it as https://rustup.rs says'
    local folder sources=(segment_rust/Cargo.toml segment_rust/Cargo.lock segment_rust/src/main.rs)
    folder="$(folder rust "${sources[@]}")"
    if ! is_complete "$folder"; then
        echo 'Building the client written in Rust'
        rm -rf "$folder"
        cargo build --quiet --locked --manifest-path segment_rust/Cargo.toml --target-dir "$folder"
        touch "$folder/.complete"
    fi
    link "$folder" .rust
}

# Apache Kafka's broker, from its Maven artifacts: tests/kafka/libs.
kafka() {
    has_java || fail 'Kafka needs Java 17 or newer: apt-get install default-jre-headless'
    command -v mvn >/dev/null || fail 'Maven is missing: apt-get install maven'
    local folder
    folder="$(folder kafka ../kafka/pom.xml)"
    if ! is_complete "$folder"; then
        echo 'Installing Apache Kafka'
        rm -rf "$folder"
        mvn --quiet --batch-mode --file ../kafka/pom.xml "-DoutputDirectory=$folder" -DincludeScope=runtime \
            org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies ||
            fail 'Maven could not fetch the artifacts of tests/kafka/pom.xml'
        touch "$folder/.complete"
    fi
    link "$folder" ../kafka/libs
}

# One at a time: two clones may share the cache.
mkdir -p "$cache"
exec 9>"$cache/setup.lock"
flock 9

packages
javascript
python
rust
kafka
