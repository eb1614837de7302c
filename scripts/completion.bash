# bash completion for every tfm program: the options come from the program itself, so there is no
# second list to keep (`tfm-X --help-options` prints LETTER, NAME, ARGUMENT and HELP,
# tab-separated).
_tfm() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} table letter name arg
    table=$("$1" --help-options 2>/dev/null) || return
    while IFS=$'\t' read -r letter name arg _; do
        if [ "$before" = "--$name" ] || { [ -n "$letter" ] && [ "$before" = "-$letter" ]; }; then
            case $arg in
            FILE | DIR) mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
            ?*) return ;;
            esac
        fi
    done < <(printf '%s\n' "$table" | sed 's/^\t/-\t/')
    case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W "$(printf '%s\n' "$table" |
        awk -F'\t' '{print "--" $2; if ($1 != "") print "-" $1}')" -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    esac
}
complete -o filenames -F _tfm tfm-{bench,cat,check,cmp,convert,detok,embed,attend,export,head,import} \
    tfm-{pool,prompt,run,sample,score,select,show,tokenize,train,unembed,vocab}
