"""The shell scripts of `uploading`: what is there, put together, compare, move into place."""

from __future__ import annotations

from chi_edge_lab.core import scripts
from chi_edge_lab.core.localtree import TEMPORARY

FULL = 52
CONFLICT = 53
DAMAGED = 54

# $1: destination, $2: name in it, $3: name of the temporary directory. Fields are separated by NUL.
PREPARE = f"""{scripts.ENTER}[ -w . ]||exit {scripts.DENIED}
[ -d "./$2" ]&&k=d||k=f;[ -e "./$2" ]||[ -L "./$2" ]||k=-
(umask 077;mkdir "./$3" "./$3/t") 2>&1||exit {scripts.FAILED}
find . -maxdepth 1 -name '{TEMPORARY}*' -type d -mmin +1440 -exec rm -rf {{}} + 2>/dev/null
v=-;command -v tar >/dev/null&&v=$(tar --version 2>&1 </dev/null|head -n 1)
s=-;command -v sha256sum >/dev/null&&command -v xargs >/dev/null&&s=y
printf '%s\\0' "$(pwd -P;echo x)" $k "$v" $s "$(id -u 2>/dev/null)" "$(id -g 2>/dev/null)"
printf '%s\\0' "$(df -Pk . 2>/dev/null|tail -n 1)" """

# $1: temporary directory, $2: number of the large file, $3: its path, $4: mode, $5: bytes there must be by
# now
APPEND = f"""cd "$1/p/$2" 2>/dev/null||exit {scripts.MISSING}
for f in *;do [ -f "$f" ]||continue;cat "$f" >>"$1/t/$3" 2>&1||exit {FULL};rm -f "$f";done
z=$(stat -c %s "$1/t/$3" 2>/dev/null||wc -c <"$1/t/$3")
chmod $4 "$1/t/$3";echo $((z));[ $((z)) = $5 ]||exit {FULL}"""

# Lists reach xargs through a pipe: busybox runs its own tools in a child that shares the list's file offset
# and, ending, sets it back, so that names come twice. sha256 of the list of sha256 of the files named in
# x/files; a file name with a backslash or newline gets a leading backslash from GNU
SUMS = r"""cd "$1/t"||exit 40
cat ../x/files|xargs -0 sha256sum 2>/dev/null|sed -n 's/^\\\{0,1\}\([0-9a-f]\{64\}\)  .*/\1/p'"""
SUM_OF_SUMS = SUMS + "|sha256sum|cut -c1-64"

# $1: temporary directory, $2: its name in the destination's folder, $3: the sum of sums there must be, or
# nothing. Compare, then look for what stands in the way, then move.
PLACE = f"""if [ "$3" ];then [ "$({SUM_OF_SUMS})" = "$3" ]||exit {DAMAGED};fi
cd "$1/t"||exit {scripts.MISSING}
if [ -s ../x/links ];then cat ../x/links|xargs -0 -n 2 ln -s -- 2>&1||exit {scripts.FAILED};fi
if [ -s ../x/modes ];then cat ../x/modes|xargs -0 -n 2 chmod 2>&1||exit {scripts.FAILED};fi
D=../..
c(){{ for f in "$1"/* "$1"/.[!.]* "$1"/..?*;do [ -e "$f" ]||[ -L "$f" ]||continue;n=$2/${{f##*/}}
if [ -d "$f" ]&&[ ! -L "$f" ];then if [ -d "$n" ];then c "$f" "$n"
elif [ -e "$n" ]||[ -L "$n" ];then printf %s "$n";exit {CONFLICT};fi
elif [ -d "$n" ]&&[ ! -L "$n" ];then printf %s "$n";exit {CONFLICT};fi;done;}}
m(){{ for f in "$1"/* "$1"/.[!.]* "$1"/..?*;do [ -e "$f" ]||[ -L "$f" ]||continue;n=$2/${{f##*/}}
if [ -d "$f" ]&&[ ! -L "$f" ]&&[ -d "$n" ];then m "$f" "$n"
else [ -L "$n" ]&&rm -f "$n";mv -f "$f" "$2/" 2>&1||exit {scripts.FAILED};fi;done;}}
c . "$D";m . "$D";cd ../..&&rm -rf "./$2";exit 0"""
