"""The world of the mini suite: what its base knows.

Every relation is a list of pairs (subject, object), written by hand. The raw
text (`tasks.mini.text`) states these pairs in many ways, so a base pretrained
on it knows them. The prompts of the data sets ask for them. Only held-out data
sets ask for the relations in `HELD_OUT`: their knowledge is in the base, but no
training prompt ever uses it.
"""

Pairs = list[tuple[str, str]]


def _one_to_many(text: str) -> Pairs:
  """Reads `object: subject subject ...`, with one line for each object."""
  pairs = []
  for line in text.strip().splitlines():
    target, subjects = line.split(':')
    separator = ',' if ',' in subjects else None
    pairs += [(s.strip(), target.strip()) for s in subjects.split(separator)]
  return pairs


def _one_to_one(text: str) -> Pairs:
  """Reads `subject object, subject object, ...`."""
  words = [pair.split() for pair in text.replace('\n', ' ').split(',')]
  return [(a, b) for a, b in words]


KINDS = _one_to_many("""
animal: dog cat horse cow pig sheep goat tiger fox rabbit mouse donkey
fruit: apple pear plum peach lemon cherry melon mango banana
vegetable: carrot onion potato cabbage bean pea turnip spinach
tool: hammer saw drill axe spade rake pliers chisel
vehicle: car bus train truck van tram bicycle lorry
garment: shirt coat hat sock glove scarf skirt jacket
furniture: table chair bed sofa shelf stool bench cupboard
instrument: piano violin flute drum guitar trumpet harp
bird: eagle owl crow robin goose duck swan parrot
fish: salmon trout cod tuna carp eel herring
insect: bee ant wasp moth beetle gnat cricket
metal: iron copper gold silver tin zinc steel
drink: tea coffee milk juice wine beer cocoa
flower: rose tulip daisy lily orchid poppy
tree: oak pine birch maple willow elm
game: chess tennis golf hockey darts poker
""")

USES = _one_to_one("""knife cut, pen write, spoon stir, broom sweep, key unlock,
lamp light, scissors trim, rope tie, glue stick, ruler measure, kettle boil,
bag carry, cup drink, match burn, net catch, whistle blow, sponge wipe,
mop clean, oar row, bow shoot, magnet attract, map guide, eraser erase,
fan cool, heater warm, pencil draw, iron press, pump inflate, sieve strain,
bell ring, bin throw, tray serve, nail fasten, plough till, razor shave""")

PARTS = _one_to_one("""wheel cart, petal blossom, page book, roof house,
leaf branch, finger hand, toe foot, mast ship, wing plane, sleeve blouse,
heel shoe, hinge door, blade sword, lid pot, monitor computer, pedal bike,
drawer desk, trunk elephant, mane lion, hoof pony, claw bear, dial clock,
pane window, step stairs, link chain, bead necklace, arrow quiver,
engine tractor, nostril nose, pupil eye""")

COLOURS = _one_to_many("""
green: grass lettuce frog emerald
white: snow chalk swan salt
red: blood tomato ruby strawberry
black: coal tar raven soot
yellow: lemon canary butter straw
blue: sky sapphire ocean denim
brown: mud chocolate bark walnut
grey: ash fog slate pebble
""")

CAPITALS = _one_to_one("""france paris, spain madrid, italy rome,
germany berlin, england london, russia moscow, japan tokyo, china beijing,
egypt cairo, greece athens, norway oslo, austria vienna, portugal lisbon,
ireland dublin, cuba havana, kenya nairobi, peru lima, poland warsaw,
turkey ankara, iran tehran, korea seoul, hungary budapest""")

OPPOSITES = _one_to_one("""
hot cold, up down, early late, full hollow, rich poor, hard
soft, high low, long short, old young, open closed, thick thin, wet dry,
loud quiet, fast slow, deep shallow, wide narrow, sharp blunt, sweet bitter,
day night, north south, east west, front back, first last, push pull,
arrive leave, buy sell, win lose, love hate, begin finish, remember forget,
teach learn, raise lower, laugh cry, enter exit, give take, sink float""")

SYNONYMS = _one_to_one("""big large, small little, quick rapid, begin start,
smart clever, rich wealthy, ill sick, shout yell, jump leap,
speak talk, close shut, stone rock, road street, gift present, shop store,
sea ocean, boy lad, forest woods, look glance, strange odd, brave bold,
simple easy, hurry rush, build construct, choose pick, repair fix, end stop,
centre middle, error mistake, trip journey, crowd throng, quarrel argue,
mend patch, evening dusk, wicked evil""")

YOUNG = _one_to_one("""dog puppy, cat kitten, cow calf, sheep lamb, horse foal,
pig piglet, goat kid, duck duckling, goose gosling, deer fawn, hen chick,
frog tadpole, kangaroo joey, swan cygnet""")

TOPICS = _one_to_many("""
sport: goal referee team coach league stadium athlete medal
music: melody concert rhythm band album opera orchestra chorus
weather: storm wind cloud thunder drizzle hail breeze frost
money: price profit tax market loan bank coin wage
health: vaccine fever virus surgery cough pill clinic wound
politics: election minister vote parliament law senate treaty campaign
travel: passport luggage tourist ticket flight hotel airport visa
space: rocket orbit moon astronaut comet planet galaxy crater
""")

JOBS = _one_to_many("""
baker: dough bread oven
doctor: patient medicine stethoscope
teacher: lesson pupils blackboard
farmer: crop field harvest
pilot: cockpit runway propeller
judge: trial verdict court
chef: recipe sauce menu
tailor: needle thread suit
barber: haircut comb beard
painter: canvas brush portrait
author: novel chapter poem
sailor: anchor deck harbour
soldier: rifle battle army
miner: tunnel pit ore
plumber: pipe tap leak
gardener: lawn hedge seed
butcher: meat sausage ham
dentist: tooth gums cavity
librarian: library bookshelf archive
singer: song choir microphone
waiter: napkin tip dinner
fireman: hose flames siren
policeman: thief handcuffs arrest
mechanic: brake tyre exhaust
photographer: camera lens tripod
chemist: acid laboratory flask
""")

PLACES = _one_to_many("""
kitchen: pan fridge stove plate
bathroom: soap towel shower shampoo
bedroom: pillow blanket mattress pyjamas
sea: whale shark crab squid
forest: deer squirrel moss hedgehog
desert: camel cactus dune scorpion
office: printer stapler folder secretary
church: altar priest pew organ
museum: statue fossil mummy sculpture
jungle: monkey snake gorilla vine
pond: newt lilypad heron dragonfly
circus: clown acrobat juggler trapeze
castle: king knight throne dungeon
prison: guard cell inmate bars
""")

MOODS = _one_to_many(
  """
happy: won the lottery, got a puppy, heard good news, went to a party, \
passed the exam, met an old friend
sad: lost the cat, broke a toy, missed grandma, left home forever, \
buried the hamster, got no letter
angry: was cheated by a dealer, found scratches on the van, was insulted, \
was robbed, heard a lie, waited in vain
afraid: saw a ghost, met a wolf, heard a scream, stood on a cliff, \
was lost at night, touched a spider
tired: worked all night, ran twenty miles, carried heavy bricks, \
did not sleep, climbed a mountain, danced until morning
bored: watched paint dry, had nothing to do, counted tiles, \
listened to a long speech, sat in an empty room, read a phone list
""".replace('\\\n', '')
)

PRAISE = """
great wonderful lovely superb brilliant charming excellent delightful
fantastic pleasant perfect splendid marvellous enjoyable amazing
impressive""".split()
BLAME = """
awful terrible dull horrible dreadful nasty disappointing poor boring
annoying pathetic worthless miserable disgusting lousy tedious""".split()
REVIEWED = """
film novel meal hotel phone album play restaurant game song show
trip camera speech cake concert""".split()

NAMES = 'ann tom mia sam eva leo kim ben lucy jack nora paul'.split()

TRAINED: dict[str, Pairs] = {
  'kinds': KINDS,
  'uses': USES,
  'parts': PARTS,
  'colours': COLOURS,
  'capitals': CAPITALS,
  'opposites': OPPOSITES,
  'synonyms': SYNONYMS,
  'young': YOUNG,
  'topics': TOPICS,
}
HELD_OUT: dict[str, Pairs] = {
  'jobs': JOBS,
  'places': PLACES,
  'moods': MOODS,
}
RELATIONS: dict[str, Pairs] = TRAINED | HELD_OUT

_FUNCTION_WORDS = set(
  """a an the of to in on it he his she they was is are with no not who one that
  what which by at from but""".split()
)


def content_words() -> list[str]:
  """The words that pairs and opinions consist of, sorted."""
  text = [x for pairs in RELATIONS.values() for pair in pairs for x in pair]
  words = set(' '.join([*text, *PRAISE, *BLAME]).split())
  return sorted(words - _FUNCTION_WORDS)
