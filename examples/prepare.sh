#!/bin/sh
# prepare.sh TOP - fills the present folder with what the EXAMPLES of the pages start from.
#
#   story.tfms     the model that ships
#   prompts.txt    three prompts, one a line
#   prompts.jsonl  the same as JSON lines, with an id each
#   logits.tfms    logits of 40 groups over 32 tokens (tests/contract/make_logits.c)
#   job.sh         a Slurm array over prompts.jsonl, a line each
#   choices.jsonl  one question with three answers: context, and context with answer
#   poem.txt       some text of more than one line, with characters beyond ASCII
set -e
top=$1
if [ -e "$top/share/models/story.tfms" ]; then ln -s "$top/share/models/story.tfms" story.tfms; fi
cp "$top/tests/contract/logits.tfms" .
cat >prompts.txt <<'END'
In the beginning
O Romeo, Romeo!
And the king said
END
cat >prompts.jsonl <<'END'
{"id": 1, "prompt": "In the beginning"}
{"id": 2, "prompt": "O Romeo, Romeo!"}
{"id": 3, "prompt": "And the king said"}
END
cat >job.sh <<'END'
#!/bin/sh
#SBATCH --array=0-2
n=1 # lines of a task
tfm-tokenize -j prompt --first $((SLURM_ARRAY_TASK_ID * n)) prompts.jsonl | tfm-head -g $n |
    tfm-run -n 6 -T 1 -s 3 | tfm-detok -o out.$SLURM_ARRAY_TASK_ID.jsonl
END
cat >choices.jsonl <<'END'
{"context": "And the king said", "text": "And the king said unto him"}
{"context": "And the king said", "text": "And the king said apple"}
{"context": "And the king said", "text": "And the king said whom"}
END
cat >poem.txt <<'END'
Über allen Gipfeln
Ist Ruh,
In allen Wipfeln
Spürest du
Kaum einen Hauch;
END
