"""The shell scripts of `files` and `transfer`, and the sentences of their exit codes.

POSIX sh, with the tools of busybox. `$1` is always a path that `paths.checked` made. Loops over names never
interpret them.
"""

from __future__ import annotations

from chi_edge_lab.core import paths
from chi_edge_lab.core.listing import STAT_FORMAT
from chi_edge_lab.core.shell import Reply
from chi_edge_lab.errors import FileError

MISSING, NOT_DIRECTORY, IS_DIRECTORY, DENIED, EXISTS, SPECIAL, FAILED, DANGLING, NO_TOOL, FULL = range(40, 50)
NO_FOLDER, INSIDE = 60, 61

# Leave with the reason why "$1" is no directory that can be entered and read
ENTER = f"""cd -P -- "$1" 2>/dev/null||{{ [ -e "$1" ]||[ -L "$1" ]||exit {MISSING}
[ -d "$1" ]||{{ [ -e "$1" ]||exit {DANGLING};exit {NOT_DIRECTORY};}};exit {DENIED};}}
[ -r . ]||exit {DENIED}
"""
# `path NUL kind NUL text NUL` of each path in "$@"; the x keeps a text's own newlines at the end
_LINKS = (
    'sh -c \'for l;do k=o;[ -e "$l" ]||k=-;[ -f "$l" ]&&k=f;[ -d "$l" ]&&k=d;'
    't=$(readlink "$l";echo x);t=${t%?x};printf "%s\\0%s\\0%s\\0" "$l" $k "$t";done\' sh'
)
_HAS_FIND = "command -v find >/dev/null&&stat -c %f . >/dev/null 2>&1"

LIST = f"""{ENTER}{_HAS_FIND}||exit {NO_TOOL}
find . -mindepth 1 -maxdepth 1 -type l -exec {_LINKS} {{}} + 2>/dev/null;printf '\\0'
find . -mindepth 1 -maxdepth 1 -exec stat -c '{STAT_FORMAT}' {{}} + 2>/dev/null;exit 0"""

# Set k to the letter of the kind of $f
_KIND = """k=o;if [ -L "$f" ];then k=l;elif [ -d "$f" ];then k=d
elif [ -f "$f" ];then k=f;elif [ -p "$f" ];then k=p;fi
"""
LIST_PLAIN = f"""{ENTER}for f in * .[!.]* ..?*;do [ -e "$f" ]||[ -L "$f" ]||continue
{_KIND}printf '%s\\0%s\\0' $k "$f";done;exit 0"""

# A tree is printed only when no name in it holds a newline (NO_TOOL otherwise): then each line is one path
TREE = f"""{ENTER}{_HAS_FIND}||exit {NO_TOOL}
n='
';[ "$(find . -name "*$n*" 2>/dev/null|head -n 1)" ]&&exit {NO_TOOL}
find . -type l -exec {_LINKS} {{}} + 2>/dev/null;printf '\\0'
find . -exec stat -c '{STAT_FORMAT}' {{}} + 2>&1||exit {FAILED};exit 0"""

STAT = f"""[ -e "$1" ]||[ -L "$1" ]||exit {MISSING}
[ -L "$1" ]&&{_LINKS} "$1";printf '\\0'
stat -c '%f %s %Y %u %g %h' -- "$1" 2>/dev/null&&exit 0
f=$1;{_KIND}echo $k;exit 0"""

# $2: block to begin at, $3: number of blocks of 4096. What has no size (/proc) is read from its beginning
# only.
READ = f"""[ -e "$1" ]||{{ [ -L "$1" ]&&exit {DANGLING};exit {MISSING};}}
[ -d "$1" ]&&exit {IS_DIRECTORY};[ -f "$1" ]||exit {SPECIAL};[ -r "$1" ]||exit {DENIED}
z=$(stat -Lc %s -- "$1" 2>/dev/null||wc -c <"$1")&&echo $((z))||exit {FAILED}
if [ $((z)) = 0 ];then head -c $((4096*$3)) <"$1" 2>/dev/null;exit 0;fi
dd if="$1" bs=4096 skip=$2 count=$3 2>/dev/null;exit 0"""

MKDIR = f"""[ -d "$1" ]&&{{ [ "$2" ]&&exit 0;exit {EXISTS};}};[ -e "$1" ]||[ -L "$1" ]&&exit {EXISTS}
mkdir $2 -- "$1" 2>&1||exit {FAILED}"""

# $2: the new path, $3: not empty to replace what is there
RENAME = f"""[ -e "$1" ]||[ -L "$1" ]||exit {MISSING}
if [ -d "$2" ]&&[ ! -L "$2" ];then exit {EXISTS};fi
[ -z "$3" ]&&{{ [ -e "$2" ]||[ -L "$2" ];}}&&exit {EXISTS}
[ -L "$2" ]&&{{ rm -f -- "$2"||exit {FAILED};}}
mv -f -- "$1" "$2" 2>&1||exit {FAILED}"""

# $2: the new path, $3: not empty to replace a file that is there, $4: name of the temporary copy beside it
COPY = f"""[ -e "$1" ]||{{ [ -L "$1" ]||exit {MISSING};}}
if [ -d "$2" ]&&[ ! -L "$2" ];then exit {EXISTS};fi
[ -z "$3" ]&&{{ [ -e "$2" ]||[ -L "$2" ];}}&&exit {EXISTS}
d=${{2%/*}}/;[ -d "$d" ]||exit {NO_FOLDER}
if [ -d "$1" ]&&[ ! -L "$1" ];then s=$(cd -P -- "$1"&&pwd -P;echo x);s=${{s%?x}};w=$(cd -P -- "$d"&&pwd -P;echo x)
case ${{w%?x}}/ in "${{s%/}}"/*)exit {INSIDE};;esac
elif [ ! -f "$1" ]&&[ ! -L "$1" ];then exit {SPECIAL};fi
t=$d$4;trap 'rm -rf -- "$t";exit {FAILED}' TERM HUP INT
cp -pPR -- "$1" "$t" 2>&1||{{ chmod -R u+rwx "$t" 2>/dev/null;rm -rf -- "$t";exit {FAILED};}}
[ -L "$2" ]&&rm -f -- "$2"
mv -f -- "$t" "$2" 2>&1||{{ rm -rf -- "$t";exit {FAILED};}}"""

# $2: byte to begin at (from 1), $3: bytes
CHECKSUM = f"""command -v sha256sum >/dev/null||exit {NO_TOOL}
if [ $2 = 1 ];then head -c $3 <"$1";else tail -c +$2 <"$1"|head -c $3;fi|sha256sum|cut -c1-64"""

# $2: not empty to delete a directory with what is in it
DELETE = f"""[ -e "$1" ]||[ -L "$1" ]||exit {MISSING}
if [ -d "$1" ]&&[ ! -L "$1" ];then
if [ "$2" ];then rm -rf -- "$1" 2>&1||exit {FAILED};else
[ "$(ls -A -- "$1" 2>/dev/null|head -n 1)" ]&&exit {IS_DIRECTORY};rmdir -- "$1" 2>&1||exit {FAILED};fi
else rm -f -- "$1" 2>&1||exit {FAILED};fi"""

_SENTENCES = {
    MISSING: "{path} does not exist in the container.",
    NOT_DIRECTORY: "{path} is not a folder but a file.",
    IS_DIRECTORY: "{path} is a folder.",
    DENIED: "{path} may not be read or changed by the container's user.",
    EXISTS: "{path} exists already in the container.",
    SPECIAL: "{path} is neither a file nor a folder (a device, a socket or a pipe).",
    DANGLING: "{path} is a link that leads nowhere.",
    NO_TOOL: "{path} cannot be listed: the image has neither find nor stat.",
    NO_FOLDER: "The folder that {path} is to be in does not exist in the container.",
    INSIDE: "A folder cannot be copied into itself ({path}).",
    FULL: "There is no space left for {path} in the container.",
}


def check(reply: Reply, path: bytes, doing: str) -> Reply:
    """Pass a reply with exit code 0; raise FileError with a sentence for any other. `doing`: "read",
    "delete", ...
    """
    if reply.code == 0:
        return reply
    sentence = _SENTENCES.get(reply.code)
    if sentence is not None:
        raise FileError(sentence.format(path=paths.shown(path)))
    said = reply.text
    lowered = said.lower()
    for sign, code in (
        ("no space left", FULL),
        ("permission denied", DENIED),
        ("not permitted", DENIED),
        ("no such file", MISSING),
        ("not a directory", NOT_DIRECTORY),
        ("file exists", EXISTS),
    ):
        if sign in lowered:
            raise FileError(
                _SENTENCES[code].format(path=paths.shown(path)), hint=f"The container says: {said}"
            )
    if "read-only file system" in lowered:
        raise FileError(f"{paths.shown(path)} lies on a file system of the container that is read-only.")
    raise FileError(f"Could not {doing} {paths.shown(path)}: {said or f'exit code {reply.code}'}")
