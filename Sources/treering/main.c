// The arguments of main(3) come from the kernel. Swift's CommandLine reads them from /proc, and finds none where that
// is not mounted.
int treering_main(int count, char **arguments);

int main(int count, char **arguments) { return treering_main(count, arguments); }
