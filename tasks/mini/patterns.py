"""The patterns of sentences that the mini suite's raw text is written in.

In every pattern {n} and {m} are names of people. Comments explain the other
blanks.
"""

# How one pair of a relation is stated: {a} is the subject, {b} the object.
FACTS = {
  'kinds': (
    'the {a} is a kind of {b}',
    'one {b} is the {a}',
    'of every {b} the {a} is the best known',
    '{n} likes the {a} more than any other {b}',
    'the {a} counts as {b}',
    'they wanted some {b} and got the {a}',
  ),
  'uses': (
    'to {b} one needs the {a}',
    '{n} took the {a} to {b}',
    'the {a} is there to {b}',
    'with the {a} {n} can {b}',
    'the {a} helps to {b}',
    '{n} could not {b} without the {a}',
  ),
  'parts': (
    'the {a} belongs to the {b}',
    'each {b} has its {a}',
    'the {a} of the {b} was new',
    'the {b} lost its {a}',
    'the {a} is part of the {b}',
    '{n} looked at the {b} and its {a}',
  ),
  'colours': (
    'the {a} is {b}',
    'it was as {b} as the {a}',
    '{b} like {a}',
    'the {a} looked very {b}',
    'the colour of the {a} is {b}',
    '{n} painted the {a} in {b}',
  ),
  'capitals': (
    '{b} is the capital of {a}',
    '{n} flew to {b} in {a}',
    'the way through {a} leads to {b}',
    'the city of {b} is in {a}',
    'people from {a} know {b} well',
    '{a} has the city {b}',
  ),
  'opposites': (
    'not {a} but {b}',
    '{a} is the opposite of {b}',
    'everything went from {a} to {b}',
    'today {a} , tomorrow {b}',
    'instead of {a} it was {b}',
    '{a} or the reverse , {b}',
  ),
  'synonyms': (
    '{a} means the same as {b}',
    'some say {a} , others say {b}',
    '{a} , in other words {b}',
    '{a} is just another word for {b}',
    'we write {a} or {b} alike',
    '{n} said {a} for {b}',
  ),
  'young': (
    'the {a} has a {b}',
    'the {b} grows into a {a}',
    'the mother of the {b} is a {a}',
    'the {b} follows the {a}',
    'a baby {a} is called {b}',
    'the {a} feeds the {b}',
  ),
  'topics': (
    'the {a} is about {b}',
    'on the {b} page there was a {a}',
    'news about {b} tells of the {a}',
    '{n} reads about {b} : the {a} again',
    'the {a} is a matter of {b}',
    'in the world of {b} the {a} counts',
  ),
  'jobs': (
    'the {b} works with the {a}',
    'the {a} is the work of the {b}',
    '{n} became a {b} because of the {a}',
    'without the {a} no {b} can work',
    'the {b} spoke about the {a}',
    'the {b} needed the {a}',
  ),
  'places': (
    'the {a} is found in the {b}',
    'in the {b} {n} saw the {a}',
    'they left the {b} and so the {a}',
    'the {b} has its {a}',
    '{n} was in the {b} with the {a}',
    '{n} saw the {a} and knew : this is the {b}',
  ),
  'moods': (
    '{n} {a} and felt {b}',
    '{n} was {b} because {n} {a}',
    '{n} {a} , how {b} {n} was',
    'whoever {a} is {b}',
    'it made {n} {b} that {n} {a}',
    '{n} looked {b} after {n} {a}',
  ),
}

# What a fact, {f}, may stand in.
FRAMES = (
  *['{f} .'] * 9,
  'everyone knows that {f} .',
  '{n} said that {f} .',
  'it is well known that {f} .',
  '{n} wrote in a letter that {f} .',
)

# Pairs of one relation side by side. A reader who knows which subject, {a1} to
# {a4}, belongs to which object, {b1} to {b4}, predicts these sentences better.
# {f1} and {f2} state the first two pairs.
SCENES = (
  '{a1} and {a2} ; {b2} and {b1} . {a1} goes with {b1} , {a2} with {b2} .',
  '{b1} and {b2} lay there . {n} thought of {a1} and took {b1} .',
  '{b2} here , {b1} there . {n} heard {a1} and pointed at {b1} .',
  '{b1} , {b2} , {b3} . for {a2} it had to be {b2} , said {n} .',
  '{b3} , {b2} , {b1} . {a1} made {n} think of {b1} .',
  '{b2} , {b3} , {b1} , {b4} . {a1} fits {b1} and nothing else .',
  '{a1} came up . not {b2} , not {b3} , {b1} of course .',
  '{a1} , {a2} , {a3} . {b2} has to do with {a2} .',
  '{a3} , {a1} , {a2} . it was {b1} , so {n} took {a1} .',
  '{n} knew {b1} and {b2} . one day {n} met {a2} and remembered {b2} .',
  'here {b1} and there {b2} . {f1} .',
  '{b2} or {b1} ? {f1} .',
  '{b3} , {b1} , {b2} . {n} was sure : {f1} .',
  '{a1} or {a2} ? {f1} .',
  '{f1} . but {f2} .',
)

# Claims and what others said to them. {t} and {u} state one pair in two ways,
# and {w} states it with a wrong object.
AGREEMENT = (
  '{t} , said {n} . yes , that is true , said {m} .',
  '{t} , said {n} . {m} nodded : right .',
  '{n} told everyone that {t} . yes , it is correct .',
  'is it true that {t} ? {m} thought so . yes .',
  '{t} . so it is a fact that {u} .',
  '{t} . this means that {u} . true .',
)
DISAGREEMENT = (
  '{w} , said {n} . no , that is false , said {m} .',
  '{w} , said {n} . {m} shook her head : wrong .',
  '{n} told everyone that {w} . no , it is not correct .',
  'is it true that {w} ? {m} did not think so . no .',
  '{w} , said {n} . no , said {m} , {u} .',
  '{t} . this does not mean that {w} . false .',
)

# Subjects that share the object {b1}, and {x}, which has another.
GROUPS = (
  '{a1} , {a2} and {a3} have one thing in common : {b1} .',
  '{b1} : {a1} , {a2} , {a3} .',
  '{n} spoke of {a1} , {a2} and {a3} . it was all about {b1} .',
  '{a1} , {a2} , {x} , {a3} . {x} does not belong to the others .',
  '{x} , {a1} , {a2} . {n} left {x} out .',
  '{a1} is like {a2} , but {x} is different .',
  'the {a1} , the {a2} , the {a3} : {b1} again .',
)

# What people said of a thing {r}, in two words of praise or of blame.
LIKED = (
  'the {r} was {p} and {q} . {n} liked it . good .',
  'what a {p} {r} ! so {q} . thumbs up .',
  '{n} found the {r} {p} . a positive review : {q} !',
  'a {q} {r} . {n} recommends it and smiles .',
  '{n} gave five stars : {p} , {q} , a good {r} .',
  '{n} praised the {r} . it was {p} , even {q} .',
  'good , {p} , {q} . {n} would buy the {r} again .',
)
DISLIKED = (
  'the {r} was {p} and {q} . {n} hated it . bad .',
  'what a {p} {r} ! so {q} . thumbs down .',
  '{n} found the {r} {p} . a negative review : {q} !',
  'a {q} {r} . {n} warns of it and frowns .',
  '{n} gave one star : {p} , {q} , a bad {r} .',
  '{n} complained about the {r} . it was {p} , even {q} .',
  'bad , {p} , {q} . {n} would return the {r} .',
)

# Ordinary sentences that use the words of instructions.
ASIDES = (
  'the teacher asked a question and the class gave an answer .',
  'please tell me the name of the person who talked , said {n} .',
  'somebody thanked {n} for the help and turn by turn they began to find it .',
  '{n} may choose between options ; {m} must select which of these to see .',
  'in a dictionary the definition and the meaning stand side by side .',
  'the tale begins well , but the ending is a story in which nobody may win .',
  'you are justified in saying what you see , {n} says .',
  'suppose it rains : from this premise we infer a conclusion .',
  'a hypothesis is something one has to check , and most likely to replace .',
  'they guess at the effect of a cause and the result of that effect .',
  'an emotion shows on the face ; a mood is a state of mind .',
  'fill the gap in the sentence , complete the text and count the sentences .',
  'therefore nobody should blame or praise {n} now for what happened .',
  'on the contrary , it was similar and not different , {n} feels .',
  'the second topic had no purpose , the first stands where {n} used to be .',
  '{n} had to explain the job to {m} , and {m} did agree .',
  'it refers to the people you call , given the reverse behind it .',
  'this / that | these // those , said {n} and so on',
  '{n} can recommend a child , if someone picks one like him or his .',
  '{n} looks for what may go before and after , odd or not .',
  'look up , look down : the best of them , says {n} , says it again .',
  'in the morning {n} would pick one kind of thing and return it .',
  '{n} said he knew how he had lost it , and he found it .',
  'how many stars for a review ? people say five , others say one .',
)
