# Reads what to end and to remove, and does it when its standard input ends. See reaper.rs.
trap '' INT TERM HUP
watched=
folders=

# The time at which a process started: with it, a process number that was used again is noticed.
# A zombie has no start: nobody needs to end it.
start_of() {
    read -r line <"/proc/$1/stat" || return 1
    set -- ${line##*) }
    [ "$1" != Z ] && printf '%s' "${20}"
}

# Whether the process $1 that started at $2 is still there.
is_left() {
    [ "$(start_of "$1")" = "$2" ]
}

while read -r verb rest; do
    case $verb in
    watch)
        signal=${rest% *}
        pid=${rest#* }
        start=$(start_of "$pid") && watched="$watched $signal:$pid:$start"
        ;;
    forget)
        kept=
        for entry in $watched; do
            case $entry in
            *:"$rest":*) ;;
            *) kept="$kept $entry" ;;
            esac
        done
        watched=$kept
        ;;
    remove)
        folders="$folders
$rest"
        ;;
    esac
done

for entry in $watched; do
    signal=${entry%%:*}
    pid=${entry#*:}
    start=${pid#*:}
    pid=${pid%:*}
    is_left "$pid" "$start" && kill -s "$signal" "$pid"
done

looks=50
for entry in $watched; do
    pid=${entry#*:}
    start=${pid#*:}
    pid=${pid%:*}
    while is_left "$pid" "$start" && [ "$looks" -gt 0 ]; do
        looks=$((looks - 1))
        sleep 0.1
    done
    is_left "$pid" "$start" && kill -s KILL "$pid"
done

printf '%s\n' "$folders" | while IFS= read -r folder; do
    [ -n "$folder" ] && rm -rf -- "$folder"
done
