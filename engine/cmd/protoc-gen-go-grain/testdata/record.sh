#!/bin/sh
# Records what protoc and buf hand to a plug-in for the golden files of package graingen, so that the
# tests need neither of them. Run it where both are on the PATH, with protoc's own include folder (that
# of google/protobuf/*.proto) as the first argument, after a change of these files.
set -e
include=${1:?"the include folder of protoc"}
here=$(cd "$(dirname "$0")" && pwd)
engine=$here/../../..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/src/graingen/internal" "$work/bin" "$work/out"
cp -r "$engine/../protos/granary" "$work/src/granary"
cp -r "$engine/graingen/internal/golden" "$work/src/graingen/internal/golden"
cat > "$work/bin/protoc-gen-record" <<'END'
#!/bin/sh
cat > "$RECORD"
printf '\020\003\030\346\007\040\351\007' # supports optional fields and the editions 2 to 2024
END
chmod +x "$work/bin/protoc-gen-record"
PATH=$work/bin:$PATH
export RECORD
cd "$work/src"

RECORD=$here/protoc.binpb
protoc -I . -I "$include" --record_out="$work/out" \
	--record_opt=module=github.com/granary-go/granary/engine $(find graingen -name '*.proto' | sort)

RECORD=$here/buf.binpb
echo 'version: v2' > buf.yaml
cat > buf.gen.yaml <<'END'
version: v2
plugins:
  - local: protoc-gen-record
    out: ../out
    opt: module=github.com/granary-go/granary/engine
    strategy: all
END
buf generate --path graingen
