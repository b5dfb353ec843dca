# Completion for causewayctl, for bash.

_causewayctl()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local command='' sub='' i

    case $prev in
    --socket)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    --check)
        mapfile -t COMPREPLY < <(compgen -W "$(causewayctl doctor --help |
            sed '1,/^checks:/d;s/^ *\([^ ]*\).*/\1/')" -- "$cur")
        return
        ;;
    --from | --link)
        return
        ;;
    esac

    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --socket | --from | --link | --source | --domain | --check | --limit) ((i++)) ;;
        -*) ;;
        *)
            if [[ -z $command ]]; then
                command=${COMP_WORDS[i]}
            elif [[ -z $sub ]]; then
                sub=${COMP_WORDS[i]}
            fi
            ;;
        esac
    done

    local words=''
    case $command in
    '') words='status queue explain directory doctor set unset reload stop version spool help --json --socket --help' ;;
    queue)
        case $sub in
        '') words='list show hold release retry remove export dests' ;;
        list) words='--dest --state --sender --rcpt --older --limit' ;;
        hold | release | retry) words='--dest --state --sender --rcpt --older --all' ;;
        remove) words='--dest --state --sender --rcpt --older --all --dsn' ;;
        dests) words='--dest' ;;
        esac
        case $sub in
        show | hold | release | retry | remove | export)
            words+=" $(causewayctl --json queue list 2>/dev/null |
                grep -o '"id": *"[^"]*"' | cut -d'"' -f4 | head -n 200)"
            ;;
        esac
        ;;
    explain) words='--from --link' ;;
    doctor) words='--source --domain --check --limit' ;;
    directory)
        case $sub in
        '') words='status lookup pending accept upsert delete load' ;;
        pending) words='--limit' ;;
        accept) words='--next' ;;
        esac
        ;;
    spool)
        if [[ -z $sub ]]; then
            words='verify'
        else
            mapfile -t COMPREPLY < <(compgen -d -- "$cur")
            return
        fi
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _causewayctl causewayctl
